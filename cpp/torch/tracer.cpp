#include "torch/tracer.h"

#include <ATen/core/ivalue.h>
#include <ATen/functorch/BatchedTensorImpl.h>
#include <c10/core/MemoryFormat.h>
#include <c10/core/ScalarType.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <pthread.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <mutex>
#include <sstream>

#include "hashing/errors.h"
#include "torch/hook.h"
#include "torch/tensor_view.h"

namespace torchnotary {
namespace {

thread_local Tracer* running = nullptr;  // the innermost one of this thread
thread_local bool in_operator = false;

// Tracers of all threads, for threads that have none: they may run a module of one that does.
std::mutex all_mutex;
std::vector<Tracer*> all;
std::atomic<int> all_count = 0;

// A forked child shares its parent's spooled files, and has but one of its threads.
void in_forked_child() {
  new (&all_mutex) std::mutex;
  for (Tracer* each : all) each->abandon();
  running = nullptr;
  in_operator = false;
  want_hook(HookUser::tracer, false);
}

const std::string& dtype_name(at::ScalarType type) {
  static const auto names = [] {
    std::array<std::string, static_cast<std::size_t>(at::ScalarType::NumOptions)> each;
    for (std::size_t i = 0; i < each.size(); ++i) {
      const auto scalar = static_cast<at::ScalarType>(i);
      if (scalar != at::ScalarType::Undefined) each[i] = c10::getDtypeNames(scalar).first;
    }
    return each;
  }();
  return names[static_cast<std::size_t>(type)];
}

// `"dtype":"float32"`
const std::string& dtype_member(at::ScalarType type) {
  static const auto members = [] {
    std::array<std::string, static_cast<std::size_t>(at::ScalarType::NumOptions)> each;
    for (std::size_t i = 0; i < each.size(); ++i) {
      each[i] = "\"dtype\":\"" + dtype_name(static_cast<at::ScalarType>(i)) + "\"";
    }
    return each;
  }();
  return members[static_cast<std::size_t>(type)];
}

std::string name_of_device(const c10::Device& device) { return device.str(); }

const char* name_of(at::MemoryFormat format) {
  switch (format) {
    case at::MemoryFormat::Contiguous:
      return "torch.contiguous_format";
    case at::MemoryFormat::Preserve:
      return "torch.preserve_format";
    case at::MemoryFormat::ChannelsLast:
      return "torch.channels_last";
    case at::MemoryFormat::ChannelsLast3d:
      return "torch.channels_last_3d";
    default:
      return "torch.memory_format";
  }
}

void append_integers(Text& out, at::IntArrayRef values) {
  out += '[';
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out += ',';
    append_json_integer(out, values[i]);
  }
  out += ']';
}

// Below vmap: the tensor that holds the memory, and which of its dimensions are batches, innermost
// vmap first.
struct Unwrapped {
  at::Tensor tensor;
  std::vector<std::pair<std::int64_t, std::int64_t>> batched;  // dimension, level
};

bool is_batched(const at::Tensor& tensor) {
  return tensor.defined() && at::functorch::isBatchedTensor(tensor);
}

Unwrapped unwrap(const at::Tensor& tensor) {
  Unwrapped result{tensor, {}};
  while (is_batched(result.tensor)) {
    const auto* batched = at::functorch::maybeGetBatchedImpl(result.tensor);
    result.batched.emplace_back(batched->bdim(), batched->level());
    result.tensor = at::Tensor(batched->value());
  }
  return result;
}

// Whether a tensor has one size for each dimension: nested ones do not, and some raise when asked.
bool has_shape(const at::Tensor& tensor) {
  return !tensor.is_nested() && !tensor.unsafeGetTensorImpl()->has_symbolic_sizes_strides();
}

std::size_t storage_size(const at::Tensor& tensor) {
  return tensor.defined() && tensor.has_storage() ? tensor.storage().nbytes() : 0;
}

// Restores what the fallback changed of its thread, whatever the operator throws.
struct InOperator {
  InOperator() { in_operator = true; }
  ~InOperator() { in_operator = false; }
};

void include_key() {
  bool wanted = false;
  for (const Tracer* each = running; each != nullptr && !wanted; each = each->outer())
    wanted = each->sees_operators();
  want_hook(HookUser::tracer, wanted);
}

}  // namespace

void TracedModel::add(const at::Tensor& tensor, Source::Kind kind, std::string_view name,
                      const std::optional<Digest>& digest) {
  const Source source{.kind = kind, .number = names_.size()};
  names_.push_back(json_string(name));
  tensors_.add(tensor, source, digest);
}

void TracedModel::add_module(const void* module, std::string_view path, Role role) {
  Module known{.role = role};
  known.path = json_string(path);
  modules_.emplace(module, std::move(known));
}

Tracer::Tracer(Secret secret, Options options, std::shared_ptr<const TracedModel> model)
    : options_(std::move(options)),
      writer_(secret, options_.folder),
      tensors_(options_.operators, options_.digests, model ? &model->tensors_ : nullptr),
      model_(std::move(model)),
      kept_spool_(options_.folder) {
  const std::lock_guard lock(all_mutex);
  all.push_back(this);
  ++all_count;
}

Tracer::~Tracer() {
  const std::lock_guard lock(all_mutex);
  std::erase(all, this);
  --all_count;
}

void Tracer::add_input(const at::Tensor& tensor, std::string_view path) {
  const Source source{.kind = Source::Kind::input, .number = inputs_.size()};
  inputs_.push_back(json_string(path));
  tensors_.add(tensor, source, std::nullopt);
}

void Tracer::set_root(const std::optional<std::string>& path) {
  root_ = path ? json_string(*path) : "null";
}

void Tracer::enter() {
  const void* none = nullptr;
  if (!entered_on_.compare_exchange_strong(none, &running)) {
    // A call of a group inside another one of it; or one on another thread at the same time.
    if (none == &running) {
      ++depth_;
    } else {
      ++threads_;
    }
    return;
  }
  depth_ = 1;
  outer_ = running;
  running = this;
  include_key();
}

void Tracer::leave() {
  if (entered_on_.load() != &running || --depth_ > 0) return;
  Tracer** at = &running;
  while (*at != nullptr && *at != this) at = &(*at)->outer_;
  if (*at != nullptr) *at = outer_;
  outer_ = nullptr;
  entered_on_.store(nullptr);
  include_key();
}

TracedModel::Role Tracer::enter_module(const void* module) {
  using Role = TracedModel::Role;
  if (in_operator) return Role::unknown;
  if (running == nullptr) {
    if (all_count.load(std::memory_order_relaxed) == 0) return Role::unknown;
    const std::lock_guard lock(all_mutex);
    for (Tracer* each : all)
      if (each->model_ && each->model_->modules_.contains(module)) ++each->threads_;
    return Role::unknown;
  }
  Role role = Role::plain;
  bool is_known = false;
  for (Tracer* each = running; each != nullptr; each = each->outer_) {
    const std::string* path = each->inside_.empty() ? &each->root_ : each->inside_.back();
    if (each->model_) {
      const auto found = each->model_->modules_.find(module);
      if (found != each->model_->modules_.end()) {
        path = &found->second.path;
        is_known = true;
        const bool counts = found->second.role != Role::shown || !each->options_.operators;
        if (counts) role = std::max(role, found->second.role);
      }
    }
    each->inside_.push_back(path);
  }
  return is_known ? role : Role::foreign;
}

void Tracer::leave_module() {
  for (Tracer* each = running; each != nullptr; each = each->outer_)
    if (!each->inside_.empty()) each->inside_.pop_back();
}

void Tracer::note_thread() {
  for (Tracer* each = running; each != nullptr; each = each->outer_) ++each->threads_;
}

Tracer* Tracer::pause() {
  Tracer* paused = running;
  running = nullptr;
  if (paused != nullptr) want_hook(HookUser::tracer, false);
  return paused;
}

void Tracer::resume(Tracer* paused) {
  if (paused == nullptr) return;
  running = paused;
  include_key();
}

std::optional<Digest> Tracer::digest(const at::Tensor& tensor) {
  const c10::impl::ExcludeDispatchKeyGuard unseen(kKey);
  const Content content = tensors_.read(tensor);
  if (!content.digest || content.view_offset) {
    if (!content.unbound.empty()) return std::nullopt;
    return commit(tensor).digest;
  }
  return content.digest;
}

void Tracer::line(const std::vector<std::string>& pieces, const std::vector<Digest>& commitments) {
  if (!failure_.empty()) return;
  try {
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      writer_.text() += pieces[i];
      if (i < commitments.size()) writer_.commitment(commitments[i]);
    }
    writer_.end_line();
  } catch (const std::exception& error) {
    fail(error);
  }
}

void Tracer::fail(const std::exception& error) {
  writer_.drop_line();
  const auto* of_torch = dynamic_cast<const c10::Error*>(&error);
  if (failure_.empty()) failure_ = of_torch ? of_torch->what_without_backtrace() : error.what();
  if (failure_.empty()) failure_ = "the operator tracer failed";
}

void Tracer::abandon() { failure_ = "the process forked during the call"; }

void Tracer::finish() {
  if (!failure_.empty()) return;
  try {
    writer_.finish();
    kept_file_ = kept_spool_.finish();
  } catch (const std::exception& error) {
    fail(error);
  }
}

bool Tracer::is_in_operator() { return in_operator; }

void Tracer::trace(const c10::OperatorHandle& op, torch::jit::Stack* stack,
                   FunctionRef<void(torch::jit::Stack*)> run) {
  if (running == nullptr) {
    run(stack);
    return;
  }
  const InOperator mark;
  const c10::FunctionSchema& schema = op.schema();
  Tracer* const first = running;
  for (Tracer* each = first; each != nullptr; each = each->outer_)
    if (each->options_.operators) each->begin(schema, *stack);
  try {
    run(stack);
  } catch (...) {
    for (Tracer* each = first; each != nullptr; each = each->outer_)
      if (each->options_.operators) each->raised();
    throw;
  }
  for (Tracer* each = first; each != nullptr; each = each->outer_)
    if (each->options_.operators) each->end(*stack, schema.returns().size());
}

void Tracer::begin(const c10::FunctionSchema& schema, const torch::jit::Stack& stack) {
  facts_ = &facts_of(schema);
  written_.clear();
  tensors_.forget_gone();
  if (!failure_.empty()) return;
  try {
    Text& text = writer_.text();
    text += "{\"args\":{";
    const std::size_t count = facts_->arguments.size();
    const c10::IValue* values = stack.data() + (stack.size() - count);
    bool first = true;
    for (const std::size_t i : facts_->ordered) {
      const c10::IValue& value = values[i];
      const OperatorFacts::Argument& argument = facts_->arguments[i];
      if (value.isNone() || (value.isTensor() && !value.toTensor().defined())) continue;
      if (!first) text += ',';
      first = false;
      text += argument.key;
      append_value(value, argument);
    }
    text += '}';
    const bool trains =
        facts_->trains >= 0 && values[facts_->trains].isBool() && values[facts_->trains].toBool();
    for (std::size_t i = 0; (facts_->writes || trains) && i < count; ++i) {
      const OperatorFacts::Argument& argument = facts_->arguments[i];
      if (!argument.written && !(trains && argument.trained)) continue;
      if (values[i].isTensor()) {
        written_.push_back({unwrap(values[i].toTensor()).tensor, i});
        written_.back().nbytes = storage_size(written_.back().tensor);
      } else if (values[i].isTensorList()) {
        for (const at::Tensor& each : values[i].toTensorVector()) {
          written_.push_back({unwrap(each).tensor, i});
        }
      }
    }
  } catch (const std::exception& error) {
    fail(error);
  }
}

// What stands between the arguments and the outputs.
void Tracer::close_line(bool outputs_follow) {
  Text& text = writer_.text();
  const std::string& path = inside_.empty() ? root_ : *inside_.back();
  text += ",\"module\":";
  text += path;
  text += ",\"operator\":";
  text += facts_->name;
  text += ",\"outputs\":";
  if (!outputs_follow) text += "null";
}

void Tracer::end(const torch::jit::Stack& stack, std::size_t returned) {
  if (!failure_.empty()) return;
  try {
    const std::uint64_t line = writer_.lines();
    const c10::IValue* values = stack.data() + (stack.size() - returned);
    output_ = 0;
    // A line is hashed into a tree that is shown: without a salted digest it could be guessed.
    if (writer_.slots() == 0) {
      writer_.text() += ',';
      writer_.commitment(value_digest({}));
    }
    close_line(true);
    // Mutated arguments that are not returned follow what is.
    std::uint32_t next = static_cast<std::uint32_t>(returned);
    grew_ = false;
    for (Written& each : written_) {
      grew_ |= facts_->resizes && storage_size(each.tensor) > each.nbytes;
      const auto* found = std::find_if(values, values + returned, [&](const c10::IValue& value) {
        return value.isTensor() && value.toTensor().defined() &&
               unwrap(value.toTensor()).tensor.is_same(each.tensor);
      });
      each.is_returned = found != values + returned;
      each.output = each.is_returned ? static_cast<std::uint32_t>(found - values) : next++;
      tensors_.wrote(each.tensor, {Source::Kind::output, each.output, line});
    }
    Text& text = writer_.text();
    text += '[';
    for (std::size_t i = 0; i < returned; ++i) {
      if (i > 0) text += ',';
      output_ = static_cast<std::uint32_t>(i);
      append_output(values[i]);
    }
    for (const Written& each : written_) {
      if (each.is_returned || !each.tensor.defined()) continue;
      if (text.back() != '[') text += ',';
      output_ = each.output;
      append_made(each.tensor, &facts_->arguments[each.argument]);
    }
    text += "],\"type\":\"operator\"}";
    written_.clear();
    writer_.end_line();
  } catch (const std::exception& error) {
    fail(error);
  }
}

void Tracer::raised() {
  if (!failure_.empty()) return;
  try {
    if (writer_.slots() == 0) {
      writer_.text() += ',';
      writer_.commitment(value_digest({}));
    }
    close_line(false);
    writer_.text() += ",\"type\":\"operator\"}";
    // What it would have written may be half written.
    for (const Written& each : written_) {
      tensors_.wrote(each.tensor, {Source::Kind::output, 0, writer_.lines()});
    }
    written_.clear();
    writer_.end_line();
  } catch (const std::exception& error) {
    fail(error);
  }
}

void Tracer::append_value(const c10::IValue& value, const OperatorFacts::Argument& argument) {
  Text& text = writer_.text();
  if (value.isTensor()) {
    append_tensor(value.toTensor(), &argument);
  } else if (value.isNone()) {
    text += "null";
  } else if (value.isInt()) {
    append_code(value.toInt(), argument.code);
  } else if (value.isDouble()) {
    append_json_double(text, value.toDouble());
  } else if (value.isBool()) {
    text += value.toBool() ? "true" : "false";
  } else if (value.isString()) {
    append_json_string(text, value.toStringRef());
  } else if (value.isComplexDouble()) {
    const auto number = value.toComplexDouble();
    text += "{\"complex\":[";
    append_json_double(text, number.real());
    text += ',';
    append_json_double(text, number.imag());
    text += "]}";
  } else if (value.isDevice()) {
    append_json_string(text, name_of_device(value.toDevice()));
  } else if (value.isGenerator()) {
    append_json_string(text, "generator:" + name_of_device(value.toGenerator().device()));
  } else if (value.isSymInt()) {
    append_json_integer(text, value.toSymInt().guard_int(__FILE__, __LINE__));
  } else if (value.isList()) {
    text += '[';
    bool first = true;
    for (const c10::IValue& each : value.toListRef()) {
      if (!first) text += ',';
      first = false;
      append_value(each, argument);
    }
    text += ']';
  } else {
    text += "{\"unbound\":";
    append_json_string(text, value.tagKind());
    text += '}';
  }
}

void Tracer::append_code(std::int64_t code, OperatorFacts::Code kind) {
  Text& text = writer_.text();
  switch (kind) {
    case OperatorFacts::Code::dtype:
      append_json_string(text, "torch." + dtype_name(static_cast<at::ScalarType>(code)));
      return;
    case OperatorFacts::Code::layout: {
      std::ostringstream name;
      name << static_cast<at::Layout>(code);
      std::string lower = name.str();
      for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      append_json_string(text, "torch." + lower);
      return;
    }
    case OperatorFacts::Code::memory_format:
      append_json_string(text, name_of(static_cast<at::MemoryFormat>(code)));
      return;
    case OperatorFacts::Code::none:
      append_json_integer(text, code);
  }
}

void Tracer::append_output(const c10::IValue& value) {
  Text& text = writer_.text();
  if (value.isTensor()) {
    append_made(value.toTensor(), nullptr);
  } else if (value.isInt() || value.isDouble() || value.isBool()) {
    append_returned_number(value);
  } else if (value.isNone()) {
    text += "null";
  } else if (value.isList()) {
    text += '[';
    bool first = true;
    in_list_ = true;
    for (const c10::IValue& each : value.toListRef()) {
      if (!first) text += ',';
      first = false;
      append_output(each);
    }
    in_list_ = false;
    text += ']';
  } else {
    text += "{\"unbound\":";
    append_json_string(text, value.tagKind());
    text += '}';
  }
}

// A number that was read off a tensor: somebody's data, over the typed encoding of leaves.py.
void Tracer::append_returned_number(const c10::IValue& value) {
  std::string encoded;
  const char* kind;
  if (value.isBool()) {
    kind = "bool";
    encoded = {'b', value.toBool() ? '\1' : '\0'};
  } else if (value.isInt()) {
    kind = "int";
    encoded = "i" + std::to_string(value.toInt());
  } else {
    kind = "float";
    const double number = value.toDouble();
    encoded = "f";
    encoded.append(reinterpret_cast<const char*>(&number), sizeof number);
  }
  Text& text = writer_.text();
  text += '{';
  writer_.commitment(value_digest(bytes_of(encoded)));
  text += ",\"kind\":\"";
  text += kind;
  text += "\"}";
}

void Tracer::append_tensor(const at::Tensor& tensor, const OperatorFacts::Argument* argument) {
  if (!tensor.defined()) {
    writer_.text() += "null";
    return;
  }
  Content content;
  if (tensor.unsafeGetTensorImpl()->is_wrapped_number()) {
    append_wrapped_number(tensor);
    return;
  }
  if (argument->out) {
    content.uninitialized = true;  // whatever it holds is not read
    append_content(tensor, content, {}, false);
    return;
  }
  const at::Tensor& held = is_batched(tensor) ? unwrap(tensor).tensor : tensor;
  if (facts_->lifts) tensors_.filled(held);
  content = argument->written || argument->aliased ? tensors_.glance(held) : tensors_.read(held);
  append_content(tensor, content, {}, true);
}

// A Python number that torch made a tensor of: a scalar argument.
void Tracer::append_wrapped_number(const at::Tensor& tensor) {
  Text& text = writer_.text();
  switch (tensor.scalar_type()) {
    case at::kDouble:
      append_json_double(text, *tensor.const_data_ptr<double>());
      return;
    case at::kLong:
      append_json_integer(text, *tensor.const_data_ptr<std::int64_t>());
      return;
    case at::kBool:
      text += *tensor.const_data_ptr<bool>() ? "true" : "false";
      return;
    default:
      append_content(tensor, tensors_.read(tensor), {}, false);
  }
}

void Tracer::append_made(const at::Tensor& tensor, const OperatorFacts::Argument* mutated) {
  if (!tensor.defined()) {
    writer_.text() += "null";
    return;
  }
  const at::Tensor held = is_batched(tensor) ? unwrap(tensor).tensor : tensor;
  const Source here{Source::Kind::output, output_, writer_.lines()};
  const Content content = tensors_.made(held, here, facts_->uninitialized || grew_);
  // A value is kept under its line and output, which several in a list would share.
  if (content.fresh && options_.keep && !in_list_) keep(held, output_);
  const bool is_new =
      content.source.kind == Source::Kind::output && content.source.number == here.number;
  append_content(tensor, content, mutated != nullptr ? mutated->name : std::string_view{}, !is_new);
}

void Tracer::append_content(const at::Tensor& tensor, const Content& content,
                            std::string_view argument, bool with_source) {
  Text& text = writer_.text();
  text += '{';
  if (!argument.empty()) {
    text += "\"argument\":";
    text += argument;
    text += ',';
  }
  Unwrapped unwrapped;
  if (is_batched(tensor)) {
    unwrapped = unwrap(tensor);
    text += "\"batched\":[";
    for (const auto& [dimension, level] : unwrapped.batched) {
      if (text.back() != '[') text += ',';
      text += "{\"dim\":";
      append_json_integer(text, dimension);
      text += ",\"level\":";
      append_json_integer(text, level);
      text += '}';
    }
    text += "],";
  }
  const bool bound = content.digest && !content.uninitialized;
  if (bound) {
    writer_.commitment(*content.digest);
    text += ',';
  }
  text += dtype_member(tensor.scalar_type());
  if (with_source) append_source(content.source);
  const at::Tensor& held = unwrapped.tensor.defined() ? unwrapped.tensor : tensor;
  if (has_shape(held)) {
    text += ",\"shape\":";
    append_integers(text, held.sizes());
  }
  if (!content.unbound.empty()) {
    text += ",\"unbound\":";
    append_json_string(text, content.unbound);
  }
  if (content.uninitialized) text += ",\"uninitialized\":true";
  if (bound && content.view_offset) {
    text += ",\"view\":{\"offset\":";
    append_json_integer(text, *content.view_offset);
    text += ",\"strides\":";
    append_integers(text, held.strides());
    text += '}';
  }
  text += '}';
}

void Tracer::append_source(const Source& source) {
  Text& text = writer_.text();
  switch (source.kind) {
    case Source::Kind::unknown:
      return;
    case Source::Kind::output:
      text += ",\"from\":{\"line\":";
      append_json_integer(text, static_cast<std::int64_t>(source.number));
      text += ",\"output\":";
      append_json_integer(text, source.output);
      text += '}';
      return;
    case Source::Kind::parameter:
      text += ",\"from\":{\"parameter\":";
      break;
    case Source::Kind::buffer:
      text += ",\"from\":{\"buffer\":";
      break;
    case Source::Kind::input:
      text += ",\"from\":{\"input\":";
      break;
  }
  text +=
      source.kind == Source::Kind::input ? inputs_[source.number] : model_->names_[source.number];
  text += '}';
}

void Tracer::keep(const at::Tensor& tensor, std::uint64_t output) {
  const auto nbytes = static_cast<std::size_t>(tensor.nbytes());
  kept_.push_back({writer_.lines(), output, dtype_name(tensor.scalar_type()), tensor.sizes().vec(),
                   kept_spool_.size(), nbytes});
  std::vector<std::byte> data(nbytes);
  copy_data(tensor, data);
  kept_spool_.append(data);
}

[[maybe_unused]] const int watches_forks = ::pthread_atfork(nullptr, nullptr, &in_forked_child);

}  // namespace torchnotary
