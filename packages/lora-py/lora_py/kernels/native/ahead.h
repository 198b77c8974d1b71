// Memory that is about to be read, brought into the cache beside work that leaves the memory idle.
#pragma once
#include <cstddef>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace grove {

class Ahead {
 public:
  void clear() {
    ranges_.clear();
    lines_ = 0;
    range_ = 0;
    at_ = end_ = nullptr;
  }
  void add(const void* start, size_t bytes) {
    const char* at = static_cast<const char*>(start);
    ranges_.push_back({at, at + bytes});
    lines_ += (bytes + kLine - 1) / kLine;
  }
  // `some` will be called about `calls` times.
  void spread(size_t calls) { each_ = calls ? (lines_ + calls - 1) / calls : 0; }

  // Asks for the next few lines.
  void some() {
    for (size_t n = each_; n; n--, at_ += kLine) {
      if (at_ >= end_) {
        if (range_ == ranges_.size()) {
          each_ = 0;
          return;
        }
        at_ = ranges_[range_].start;
        end_ = ranges_[range_++].end;
      }
#if defined(__x86_64__)
      _mm_prefetch(at_, _MM_HINT_T1);
#else
      __builtin_prefetch(at_, 0, 2);
#endif
    }
  }

 private:
  static constexpr size_t kLine = 64;
  struct Range {
    const char *start, *end;
  };
  std::vector<Range> ranges_;
  size_t range_ = 0, lines_ = 0, each_ = 0;
  const char *at_ = nullptr, *end_ = nullptr;
};

}  // namespace grove
