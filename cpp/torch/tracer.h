// Writes down the operators that a thread runs: what each took, where that came from, and what it
// made.
//
// While a tracer runs on a thread, it is told of every operator by the hook (torch/hook.h).
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "hashing/parallel.h"
#include "tensor/salt.h"
#include "tensor/spool.h"
#include "tensor/trace_writer.h"
#include "torch/known_tensors.h"
#include "torch/operator_facts.h"

namespace torchnotary {

// What traces of calls of one model share: its tensors by where they lie, its modules and their
// paths. Filled once, then read by any number of tracers on any threads.
class TracedModel {
 public:
  // What a trace writes of a module's call, beside the operators in it.
  enum class Role : std::uint8_t {
    unknown = 0,  // is no module of the model
    plain = 1,    // nothing
    shown = 2,    // its outputs, where operators are not traced
    opaque = 3,   // arguments and outputs, since its operators cannot be seen
    foreign = 4,  // (never a role) a module that is none of the model
  };

  // `kind` is parameter or buffer.
  void add(const at::Tensor& tensor, Source::Kind kind, std::string_view name,
           const std::optional<Digest>& digest);
  // A module by its address; of several paths the first counts.
  void add_module(const void* module, std::string_view path, Role role);

 private:
  friend class Tracer;
  struct Module {
    std::string path;  // as a JSON string
    Role role;
  };
  KnownTensors tensors_{true, true};
  std::vector<std::string> names_;  // as JSON strings
  std::unordered_map<const void*, Module> modules_;
};

class Tracer {
 public:
  struct Options {
    bool operators = true;  // false: only the lines that are given (modules)
    bool keep = false;      // the data bytes of what is hashed as an output
    bool digests = true;    // false: for measuring what the tracer itself costs
    std::string folder;     // for spooled bytes, see Spool
  };

  // A tensor whose data bytes were kept.
  struct Kept {
    std::uint64_t line;
    std::uint64_t output;
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::uint64_t offset;
    std::uint64_t nbytes;
  };

  // `model` may be null: a call of something that has none.
  Tracer(Secret secret, Options options, std::shared_ptr<const TracedModel> model);
  ~Tracer();
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  // Before the first operator: an input of the call, by its path.
  void add_input(const at::Tensor& tensor, std::string_view path);
  // The path of operators that run in no module the model has, if they are to have one.
  void set_root(const std::optional<std::string>& path);

  // Begins and ends a stretch of the call on this thread. Stretches nest, and may go on on another
  // thread; what runs on a second thread at the same time is not seen, and counts as a thread.
  void enter();
  void leave();

  // A module is called on this thread: what its tracers are to write of that, and plain at least,
  // which leave_module() ends; foreign where none has it; unknown where there is no tracer, or an
  // operator runs that is one line already. Tracers of other threads that have the module take
  // note.
  static TracedModel::Role enter_module(const void* module);
  static void leave_module();
  // A thread was started by this one.
  static void note_thread();

  // No tracer of this thread sees anything until resume(); returns what resume() takes.
  static Tracer* pause();
  static void resume(Tracer* paused);

  // The digest of a tensor that is no operator's, hashed now unless it is known; none where it is
  // not bound.
  std::optional<Digest> digest(const at::Tensor& tensor);
  // A line that is given: pieces of text, each but the last followed by a commitment.
  void line(const std::vector<std::string>& pieces, const std::vector<Digest>& commitments);
  // What an exception of the tracer itself was; empty where there was none. No line is lost
  // silently: a tracer that failed has no trace.
  const std::string& failure() const { return failure_; }
  // In a forked child: the call goes on in the parent.
  void abandon();

  bool sees_operators() const { return options_.operators; }
  const Tracer* outer() const { return outer_; }

  void finish();
  const TraceWriter& writer() const { return writer_; }
  std::uint64_t outside() const { return tensors_.outside(); }
  std::uint64_t threads() const { return threads_.load(); }
  const std::vector<Kept>& kept() const { return kept_; }
  Bytes kept_data() const { return kept_file_; }

  // Runs an operator of this thread by `run`, in a line of each tracer that sees operators; without
  // one it just runs. What it calls is part of it: is_in_operator() meanwhile.
  static void trace(const c10::OperatorHandle& op, torch::jit::Stack* stack,
                    FunctionRef<void(torch::jit::Stack*)> run);
  static bool is_in_operator();

 private:
  void begin(const c10::FunctionSchema& schema, const torch::jit::Stack& stack);
  void end(const torch::jit::Stack& stack, std::size_t returned);
  void raised();
  void close_line(bool outputs_follow);

  void append_value(const c10::IValue& value, const OperatorFacts::Argument& argument);
  void append_code(std::int64_t code, OperatorFacts::Code kind);
  void append_output(const c10::IValue& value);
  void append_returned_number(const c10::IValue& value);
  void append_tensor(const at::Tensor& tensor, const OperatorFacts::Argument* argument);
  void append_wrapped_number(const at::Tensor& tensor);
  void append_made(const at::Tensor& tensor, const OperatorFacts::Argument* mutated);
  void append_content(const at::Tensor& tensor, const Content& content, std::string_view argument,
                      bool with_source);
  void append_source(const Source& source);
  void keep(const at::Tensor& tensor, std::uint64_t output);
  void fail(const std::exception& error);

  const Options options_;
  TraceWriter writer_;
  KnownTensors tensors_;
  const std::shared_ptr<const TracedModel> model_;
  std::vector<std::string> inputs_;  // paths, as JSON strings
  std::string root_ = "null";
  std::vector<const std::string*> inside_;  // paths of the modules that run
  std::atomic<std::uint64_t> threads_ = 0;
  std::string failure_;
  Tracer* outer_ = nullptr;
  std::atomic<const void*> entered_on_ = nullptr;  // stands for the thread
  int depth_ = 0;                                  // of stretches there

  // The operator that runs.
  const OperatorFacts* facts_ = nullptr;
  struct Written {
    at::Tensor tensor;
    std::size_t argument;
    std::uint32_t output = 0;  // where it stands in the line
    bool is_returned = false;
    std::size_t nbytes = 0;  // of its storage, before
  };
  std::vector<Written> written_;
  std::uint32_t output_ = 0;
  bool in_list_ = false;
  bool grew_ = false;  // what it resized has memory that nobody has written

  std::vector<Kept> kept_;
  Spool kept_spool_;
  Bytes kept_file_;
};

}  // namespace torchnotary
