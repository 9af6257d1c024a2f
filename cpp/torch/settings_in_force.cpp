#include "torch/settings_in_force.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <c10/core/DefaultDtype.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>

#include <cstddef>

#include "torch/denormals.h"
#include "torch/precision_cells.h"

namespace torchnotary {
namespace {

void add_libraries(std::string& bytes, at::Context& context) {
  for (const auto value :
       {context.deterministicAlgorithms(), context.deterministicAlgorithmsWarnOnly(),
        context.deterministicFillUninitializedMemory(), context.userEnabledCuDNN(),
        context.deterministicCuDNN(), context.benchmarkCuDNN(), context.immediateMiopen(),
        context.userEnabledMkldnn(), context.deterministicMkldnn(), context.userEnabledNNPACK()}) {
    bytes.push_back(static_cast<char>(value));
  }
  bytes.push_back(static_cast<char>(context.cudnnDepthwiseKernel()));
  bytes.push_back(static_cast<char>(context.qEngine()));
  if (at::Context::hasCUDA()) {
    bytes.push_back(static_cast<char>(context.blasPreferredBackend()));
    bytes.push_back(static_cast<char>(context.linalgPreferredBackend()));
  }
}

void add_attention(std::string& bytes, at::Context& context) {
  for (const auto value :
       {context.userEnabledMathSDP(), context.userEnabledFlashSDP(), context.userEnabledFA3SDP(),
        context.userEnabledMemEfficientSDP(), context.userEnabledCuDNNSDP(),
        context.userEnabledOverrideableSDP(), context.allowFP16BF16ReductionMathSDP()}) {
    bytes.push_back(static_cast<char>(value));
  }
  for (const auto backend : context.sDPPriorityOrder()) {
    bytes.push_back(static_cast<char>(backend));
  }
}

void add_precisions(std::string& bytes, at::Context& context) {
  bytes.push_back(static_cast<char>(context.allowFP16ReductionCuBLAS()));
  bytes.push_back(static_cast<char>(context.allowBF16ReductionCuBLAS()));
  bytes.push_back(static_cast<char>(context.allowFP16AccumulationCuBLAS()));
  bytes.push_back(static_cast<char>(context.allowFP16ReductionCPU()));
  bytes.push_back(static_cast<char>(context.allowTF32OneDNN()));
  add_precision_cells(bytes);
}

// What belongs to the calling thread.
void add_thread(std::string& bytes) {
  bytes.push_back(static_cast<char>(c10::get_default_dtype_as_scalartype()));
  bytes.push_back(static_cast<char>(c10::GradMode::is_enabled()));
  bytes.push_back(static_cast<char>(c10::InferenceMode::is_enabled()));
  for (const auto device : {at::kCPU, at::kCUDA}) {
    bytes.push_back(static_cast<char>(at::autocast::is_autocast_enabled(device)));
    bytes.push_back(static_cast<char>(at::autocast::get_autocast_dtype(device)));
  }
  bytes.push_back(static_cast<char>(denormal_bits() != 0));
  for (const std::size_t count :
       {static_cast<std::size_t>(at::get_num_threads()), at::get_num_interop_threads()}) {
    bytes.append(reinterpret_cast<const char*>(&count), sizeof count);
  }
}

}  // namespace

std::string settings_fingerprint() {
  std::string bytes;
  bytes.reserve(64);
  at::Context& context = at::globalContext();
  add_libraries(bytes, context);
  add_attention(bytes, context);
  add_precisions(bytes, context);
  add_thread(bytes);
  return bytes;
}

}  // namespace torchnotary
