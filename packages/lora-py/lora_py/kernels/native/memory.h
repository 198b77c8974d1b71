// Memory for weights: large pages where the system has them, since a step reads every weight once and small pages would
// spend a third of that time on address look-ups.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <vector>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace grove {

struct Free {
  void operator()(void* p) const { std::free(p); }
};
template <class T>
using Buffer = std::unique_ptr<T[], Free>;

// `count` values, aligned to 64 bytes.
template <class T>
Buffer<T> allocate(size_t count) {
  const size_t bytes = (count * sizeof(T) + 127) / 64 * 64;
  void* p = std::aligned_alloc(64, bytes);
  if (!p) throw std::bad_alloc();
  return Buffer<T>(static_cast<T*>(p));
}

// Hands out pieces of large slabs; they live as long as the arena.
class Arena {
 public:
  template <class T>
  T* take(size_t count) {
    const size_t bytes = (count * sizeof(T) + 63) / 64 * 64;
    if (bytes > left_) grow(bytes);
    char* p = next_;
    next_ += bytes;
    left_ -= bytes;
    return reinterpret_cast<T*>(p);
  }

 private:
  static constexpr size_t kPage = size_t(2) << 20, kSlab = size_t(32) << 20;
  std::vector<Buffer<char>> slabs_;
  char* next_ = nullptr;
  size_t left_ = 0;

  void grow(size_t bytes) {
    const size_t size = (std::max(bytes, kSlab) + kPage - 1) / kPage * kPage;
    char* p = static_cast<char*>(std::aligned_alloc(kPage, size));
    if (!p) throw std::bad_alloc();
    slabs_.emplace_back(p);
#if defined(__linux__)
    madvise(p, size, MADV_HUGEPAGE);
#endif
    next_ = p;
    left_ = size;
  }
};

}  // namespace grove
