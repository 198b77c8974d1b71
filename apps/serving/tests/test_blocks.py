from __future__ import annotations

from serving.engine.blocks import BlockPool, chain_hash, root_hash


def test_cached_block_is_found_until_its_place_is_needed() -> None:
    pool = BlockPool(2)
    name = chain_hash(root_hash("a"), range(16))
    block = pool.take()
    pool.publish(block, name)
    pool.release(block)
    assert pool.available == 2
    assert pool.find(name) == block
    pool.release(block)
    pool.take()
    pool.take()
    assert pool.find(name) is None


def test_oldest_cached_block_leaves_first() -> None:
    pool = BlockPool(2)
    names = [chain_hash(root_hash("a"), [i] * 16) for i in range(2)]
    blocks = [pool.take() for _ in names]
    for block, name in zip(blocks, names, strict=True):
        pool.publish(block, name)
    for block in blocks:
        pool.release(block)
    assert pool.find(names[0]) == blocks[0]
    pool.release(blocks[0])
    pool.take()
    assert pool.find(names[1]) is None
    assert pool.find(names[0]) == blocks[0]


def test_names_differ_by_adapter_and_by_every_earlier_token() -> None:
    names = {
        chain_hash(root_hash("a"), range(16)),
        chain_hash(root_hash("b"), range(16)),
        chain_hash(chain_hash(root_hash("a"), range(16)), range(16)),
        chain_hash(chain_hash(root_hash("a"), range(1, 17)), range(16)),
    }
    assert len(names) == 4
