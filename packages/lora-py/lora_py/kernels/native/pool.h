// Threads that share the items of one short job after another. A waiting thread spins for some microseconds, since the
// next job of a forward pass comes at once, then sleeps: an idle server takes no processor time.
#pragma once
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace grove {

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

class Pool {
 public:
  explicit Pool(int threads) : taken_(std::max(threads, 1)) {
    for (int i = 1; i < threads; i++) threads_.emplace_back([this, i] { serve(i); });
  }
  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (auto& thread : threads_) thread.join();
  }
  int threads() const { return int(threads_.size()) + 1; }

  // Calls f(0) … f(items - 1), each once, on any of the threads; returns when all are done.
  template <class F>
  void run(int items, F&& f) {
    start(items, [&f](int item, int) { f(item); });
  }

  // Calls f(0) … f(threads - 1), each once: f(i) on the same thread every time, unless that one comes late, so that it
  // finds in its cache what it left there.
  template <class F>
  void run_each(F&& f) {
    for (auto& taken : taken_) taken.store(false, std::memory_order_relaxed);
    start(threads(), [&](int, int thread) {
      while (taken_[thread].exchange(true, std::memory_order_relaxed)) thread = (thread + 1) % threads();
      f(thread);
    });
  }

 private:
  template <class F>
  void start(int items, F&& f) {
    if (items <= 0) return;
    if (threads_.empty() || items == 1) {
      for (int i = 0; i < items; i++) f(i, 0);
      return;
    }
    const uint32_t turn = ++turn_;
    Job& job = jobs_[turn % kJobs];
    job.context = &f;
    job.call = [](void* context, int item, int thread) {
      (*static_cast<std::remove_reference_t<F>*>(context))(item, thread);
    };
    job.items = items;
    job.done.store(0, std::memory_order_relaxed);
    state_.store(uint64_t(turn) << 32, std::memory_order_seq_cst);
    if (sleeping_.load(std::memory_order_seq_cst) > 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      wake_.notify_all();
    }
    work(turn, 0);
    for (int spins = 0; job.done.load(std::memory_order_acquire) < items; spins++)
      spins < 4000 ? relax() : std::this_thread::yield();
  }

  static constexpr int kJobs = 64;
  struct Job {
    void* context;
    void (*call)(void*, int item, int thread);
    std::atomic<int> items{0};
    std::atomic<int> done{0};
  };

  // An item belongs to whoever moves the counter on; a thread that comes late finds another turn and takes nothing.
  void work(uint32_t turn, int thread) {
    Job& job = jobs_[turn % kJobs];
    uint64_t state = state_.load(std::memory_order_acquire);
    for (;;) {
      if (uint32_t(state >> 32) != turn) return;
      const int item = int(uint32_t(state));
      if (item >= job.items.load(std::memory_order_relaxed)) return;
      if (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) continue;
      job.call(job.context, item, thread);
      job.done.fetch_add(1, std::memory_order_release);
      state = state_.load(std::memory_order_acquire);
    }
  }

  void serve(int thread) {
    uint32_t seen = 0;
    while (!stopping_.load(std::memory_order_relaxed)) {
      int spins = 0;
      uint32_t turn;
      while ((turn = uint32_t(state_.load(std::memory_order_acquire) >> 32)) == seen) {
        if (++spins < 3000) {
          relax();
          continue;
        }
        std::unique_lock<std::mutex> lock(mutex_);
        sleeping_.fetch_add(1, std::memory_order_seq_cst);
        wake_.wait(lock, [&] { return stopping_ || uint32_t(state_.load(std::memory_order_seq_cst) >> 32) != seen; });
        sleeping_.fetch_sub(1, std::memory_order_seq_cst);
        if (stopping_) return;
      }
      seen = turn;
      work(turn, thread);
    }
  }

  std::vector<std::thread> threads_;
  std::vector<std::atomic<bool>> taken_;  // of `run_each`: whose call has begun
  Job jobs_[kJobs];
  std::atomic<uint64_t> state_{0};
  std::atomic<int> sleeping_{0};
  std::atomic<bool> stopping_{false};
  uint32_t turn_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
};

}  // namespace grove
