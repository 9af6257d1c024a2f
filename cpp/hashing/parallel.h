// How a room asks for threads without owning any: a ParallelFor is passed in.
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace torchnotary {

template <class Signature>
class FunctionRef;

// A borrowed callable: two words, no allocation, valid as long as what it refers to.
template <class Result, class... Args>
class FunctionRef<Result(Args...)> {
 public:
  template <class Callable>
  requires(!std::is_same_v<std::remove_cvref_t<Callable>, FunctionRef> &&
           std::is_invocable_r_v<Result, Callable&, Args...>)
      FunctionRef(Callable&& callable)  // implicit: a lambda is passed where a FunctionRef is taken
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(callable)))),
        call_([](void* object, Args... args) -> Result {
          return (*static_cast<std::remove_reference_t<Callable>*>(object))(
              std::forward<Args>(args)...);
        }) {}

  Result operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  Result (*call_)(void*, Args...);
};

// Runs task(0) … task(count - 1), in any order and on any threads, and returns when all have.
using ParallelFor = FunctionRef<void(std::size_t count, FunctionRef<void(std::size_t)> task)>;

// The ParallelFor of one thread: the caller's.
struct Serial {
  void operator()(std::size_t count, FunctionRef<void(std::size_t)> task) const {
    for (std::size_t i = 0; i < count; ++i) task(i);
  }
};
inline constexpr Serial kSerial;

// A ParallelFor over `threads` threads, the caller's among them. Threads live for one call:
// starting one costs about 20 µs, little beside the megabytes that are worth splitting, and
// nothing survives to be broken by a fork.
class Threads {
 public:
  explicit Threads(std::size_t threads) : threads_(threads) {}
  void operator()(std::size_t count, FunctionRef<void(std::size_t)> task) const;

 private:
  std::size_t threads_;
};

}  // namespace torchnotary
