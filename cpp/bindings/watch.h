// What a watch compares at every call, without a Python instruction for each of thousands.
#pragma once

#include <pybind11/pybind11.h>
#include <torch/csrc/autograd/python_variable.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "torch/tensor_state.h"

namespace torchnotary {

namespace py = pybind11;

// The modules, tensors and attributes of a model as they stand at construction. Everything is
// borrowed from the lists given, which their owner keeps unchanged as long as this lives: held
// here, where the garbage collector does not look, they could keep a cycle alive.
class ModuleSnapshot {
 public:
  ModuleSnapshot(const py::list& modules, const py::list& parents, const py::list& keys,
                 const py::list& absent_parents, const py::list& absent_keys,
                 const py::list& owners, const py::list& names, const py::list& values,
                 const py::list& tables, const py::list& tensor_tables, const py::list& tensor_keys,
                 const py::list& tensors) {
    for (const py::handle module : modules) modules_.push_back({.reference = module});
    for (std::size_t i = 0; i < parents.size(); ++i) {
      modules_[i + 1].parent = parents[i].cast<std::ptrdiff_t>();
      modules_[i + 1].key = keys[i];
    }
    for (std::size_t i = 0; i < absent_parents.size(); ++i) {
      absent_.push_back({absent_parents[i].cast<std::size_t>(), absent_keys[i], Py_None});
    }
    for (std::size_t i = 0; i < owners.size(); ++i) {
      attributes_.push_back({owners[i].cast<std::size_t>(), names[i], values[i]});
    }
    for (const py::handle table : tables) tables_.push_back({table, length(table)});
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      entries_.push_back({tensor_tables[i], tensor_keys[i], tensors[i], state_of(tensors[i])});
    }
    const auto look = look_at_modules();
    for (std::size_t i = 0; i < modules_.size(); ++i) {
      modules_[i].attributes = length(look[i].attributes);
      modules_[i].children = length(look[i].children);
    }
  }

  // Whether nothing moved. Raises where a module is gone or is no longer one.
  bool holds() const {
    static const auto* parameters = new py::str("_parameters");
    static const auto* buffers = new py::str("_buffers");
    const auto look = look_at_modules();
    for (std::size_t i = 0; i < modules_.size(); ++i) {
      const Module& module = modules_[i];
      if (length(look[i].attributes) != module.attributes ||
          length(look[i].children) != module.children ||
          (module.parent >= 0 && find(look[static_cast<std::size_t>(module.parent)].children,
                                      module.key) != look[i].module) ||
          find(look[i].attributes, *parameters) != tables_[2 * i].table ||
          find(look[i].attributes, *buffers) != tables_[2 * i + 1].table) {
        return false;
      }
    }
    return std::ranges::all_of(tables_, [](const Table& t) { return length(t.table) == t.size; }) &&
           std::ranges::all_of(entries_,
                               [](const Entry& entry) {
                                 return find(entry.table, entry.key) == entry.value &&
                                        state_of(entry.value) == entry.state;
                               }) &&
           std::ranges::all_of(absent_,
                               [&look](const Place& place) {
                                 return find(look[place.module].children, place.name) ==
                                        place.value;
                               }) &&
           std::ranges::all_of(attributes_, [&look](const Place& place) {
             return find(look[place.module].attributes, place.name) == place.value;
           });
  }

  // Whether any module that still exists is in training mode.
  bool training() const {
    static const auto* name = new py::str("training");
    return std::ranges::any_of(modules_, [](const Module& module) {
      const py::object found = module.reference();
      return !found.is_none() && find(dict_of(found), *name).ptr() == Py_True;
    });
  }

 private:
  struct Module {
    py::handle reference;  // weak
    std::ptrdiff_t parent = -1;
    py::handle key = {};
    Py_ssize_t attributes = 0;
    Py_ssize_t children = 0;
  };
  struct Place {
    std::size_t module;
    py::handle name;
    py::handle value;
  };
  struct Table {
    py::handle table;
    Py_ssize_t size;
  };
  struct Entry {
    py::handle table;
    py::handle key;
    py::handle value;
    std::optional<TensorState> state;
  };
  // A module held for the time of one look.
  struct Held {
    py::object module;
    py::object attributes;
    py::handle children;
  };

  std::vector<Held> look_at_modules() const {
    static const auto* name = new py::str("_modules");
    std::vector<Held> look;
    look.reserve(modules_.size());
    for (const Module& module : modules_) {
      py::object found = module.reference();
      py::object attributes = dict_of(found);
      const py::handle children = find(attributes, *name);
      look.push_back({std::move(found), std::move(attributes), children});
    }
    return look;
  }

  static py::object dict_of(py::handle object) {
    auto* dict = PyObject_GenericGetDict(object.ptr(), nullptr);
    if (dict == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(dict);
  }

  // Borrowed; null where there is none.
  static py::handle find(py::handle dict, py::handle key) {
    PyObject* value = PyDict_GetItemWithError(dict.ptr(), key.ptr());
    if (value == nullptr && PyErr_Occurred() != nullptr) throw py::error_already_set();
    return value;
  }

  static Py_ssize_t length(py::handle dict) {
    if (!dict || !PyDict_Check(dict.ptr())) throw py::type_error("a dictionary was replaced");
    return PyDict_Size(dict.ptr());
  }

  static std::optional<TensorState> state_of(py::handle value) {
    if (!THPVariable_Check(value.ptr())) return std::nullopt;
    return tensor_state(THPVariable_Unpack(value.ptr()));
  }

  std::vector<Module> modules_;
  std::vector<Place> absent_;  // children that are None
  std::vector<Place> attributes_;
  std::vector<Table> tables_;
  std::vector<Entry> entries_;
};

inline void define_watch(py::module_& m) {
  using namespace py::literals;
  py::class_<ModuleSnapshot>(
      m, "ModuleSnapshot",
      "What modules, tensors and attributes are at construction. Borrows everything it is given.\n"
      "\n"
      "`modules` are weak references, the root's first; `modules[i + 1]` stands under `keys[i]` "
      "in\n"
      "`modules[parents[i]]`, and None under `absent_keys[i]` in `modules[absent_parents[i]]`.\n"
      "Attribute `names[i]` of `modules[owners[i]]` is `values[i]`.\n"
      "`tables` are the dictionaries of parameters and of buffers of each module, and "
      "`tensors[i]`\n"
      "stands under `tensor_keys[i]` in `tensor_tables[i]`.")
      .def(py::init<py::list, py::list, py::list, py::list, py::list, py::list, py::list, py::list,
                    py::list, py::list, py::list, py::list>(),
           "modules"_a, "parents"_a, "keys"_a, "absent_parents"_a, "absent_keys"_a, "owners"_a,
           "names"_a, "values"_a, "tables"_a, "tensor_tables"_a, "tensor_keys"_a, "tensors"_a)
      .def(
          "holds", &ModuleSnapshot::holds,
          "Whether all are the same objects in the same places, no dictionary has an entry more\n"
          "or less, and no tensor was moved or written to by torch. Raises where a module is gone.")
      .def("training", &ModuleSnapshot::training,
           "Whether any module that still exists is in training mode.");
}

}  // namespace torchnotary
