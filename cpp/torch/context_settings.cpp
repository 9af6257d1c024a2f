#include "torch/context_settings.h"

#include <ATen/Context.h>

#include <utility>
#include <vector>

#include "torch/precision_cells.h"

namespace torchnotary {
namespace {

using at::Context;
using at::CuBLASReductionOption;

using BoolGetter = bool (Context::*)() const;
using BoolSetter = void (Context::*)(bool);

Setting toggle(std::string name, BoolGetter get, BoolSetter set, bool wanted) {
  return plain_setting(
      std::move(name), [get] { return (at::globalContext().*get)(); },
      [set](const SettingValue& value) { (at::globalContext().*set)(std::get<bool>(value)); },
      wanted);
}

// cuBLAS keeps "reduced precision" and "split-K" of a dtype in one option with one setter.
using ReductionGetter = CuBLASReductionOption (Context::*)() const;
using ReductionSetter = void (Context::*)(bool, bool);

bool reduced_precision(CuBLASReductionOption option) {
  return option == CuBLASReductionOption::AllowReducedPrecisionWithSplitK;
}

bool split_k(CuBLASReductionOption option) {
  return option != CuBLASReductionOption::DisallowReducedPrecisionDisallowSplitK;
}

Setting reduction(std::string name, ReductionGetter get, ReductionSetter set) {
  return plain_setting(
      std::move(name), [get] { return reduced_precision((at::globalContext().*get)()); },
      [get, set](const SettingValue& value) {
        at::Context& context = at::globalContext();
        (context.*set)(std::get<bool>(value), split_k((context.*get)()));
      },
      false);
}

// Split-K stays allowed: with it off, torch refuses every half-precision matmul that cuBLAS
// rather than cuBLASLt carries out, and its order of summation is fixed for a given shape.
Setting split_reduction(std::string name, ReductionGetter get, ReductionSetter set) {
  return plain_setting(
      std::move(name), [get] { return split_k((at::globalContext().*get)()); },
      [get, set](const SettingValue& value) {
        at::Context& context = at::globalContext();
        (context.*set)(reduced_precision((context.*get)()), std::get<bool>(value));
      },
      true);
}

std::vector<Setting> table() {
  std::vector<Setting> settings = {
      plain_setting(
          "deterministic_algorithms", [] { return at::globalContext().deterministicAlgorithms(); },
          [](const SettingValue& value) {
            Context& context = at::globalContext();
            context.setDeterministicAlgorithms(std::get<bool>(value),
                                               context.deterministicAlgorithmsWarnOnly());
          },
          true),
      plain_setting(
          "deterministic_algorithms_warn_only",
          [] { return at::globalContext().deterministicAlgorithmsWarnOnly(); },
          [](const SettingValue& value) {
            Context& context = at::globalContext();
            context.setDeterministicAlgorithms(context.deterministicAlgorithms(),
                                               std::get<bool>(value));
          },
          false),
      toggle("fill_uninitialized_memory", &Context::deterministicFillUninitializedMemory,
             &Context::setDeterministicFillUninitializedMemory, true),
      toggle("cudnn_deterministic", &Context::deterministicCuDNN, &Context::setDeterministicCuDNN,
             true),
      toggle("cudnn_benchmark", &Context::benchmarkCuDNN, &Context::setBenchmarkCuDNN, false),
      toggle("mkldnn_deterministic", &Context::deterministicMkldnn,
             &Context::setDeterministicMkldnn, true),
      toggle("mkldnn_allow_tf32", &Context::allowTF32OneDNN, &Context::setAllowTF32OneDNN, false),
      reduction("cublas_fp16_reduced_precision", &Context::allowFP16ReductionCuBLAS,
                &Context::setAllowFP16ReductionCuBLAS),
      split_reduction("cublas_fp16_split_k", &Context::allowFP16ReductionCuBLAS,
                      &Context::setAllowFP16ReductionCuBLAS),
      reduction("cublas_bf16_reduced_precision", &Context::allowBF16ReductionCuBLAS,
                &Context::setAllowBF16ReductionCuBLAS),
      split_reduction("cublas_bf16_split_k", &Context::allowBF16ReductionCuBLAS,
                      &Context::setAllowBF16ReductionCuBLAS),
      toggle("cublas_fp16_accumulation", &Context::allowFP16AccumulationCuBLAS,
             &Context::setAllowFP16AccumulationCuBLAS, false),
      toggle("cpu_fp16_reduced_precision", &Context::allowFP16ReductionCPU,
             &Context::setAllowFP16ReductionCPU, false),
      toggle("sdp_math", &Context::userEnabledMathSDP, &Context::setSDPUseMath, true),
      toggle("sdp_flash", &Context::userEnabledFlashSDP, &Context::setSDPUseFlash, false),
      toggle("sdp_flash3", &Context::userEnabledFA3SDP, &Context::setSDPUseFA3, false),
      toggle("sdp_mem_efficient", &Context::userEnabledMemEfficientSDP,
             &Context::setSDPUseMemEfficient, false),
      toggle("sdp_cudnn", &Context::userEnabledCuDNNSDP, &Context::setSDPUseCuDNN, false),
      toggle("sdp_overrideable", &Context::userEnabledOverrideableSDP,
             &Context::setSDPUseOverrideable, false),
      toggle("sdp_math_reduced_precision", &Context::allowFP16BF16ReductionMathSDP,
             &Context::setAllowFP16BF16ReductionMathSDP, false),
  };
  for (Setting& setting : precision_settings()) settings.push_back(std::move(setting));
  return settings;
}

}  // namespace

std::span<const Setting> process_settings() {
  static const std::vector<Setting> settings = table();
  return settings;
}

}  // namespace torchnotary
