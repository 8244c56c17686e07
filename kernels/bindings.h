// What the bindings files share: arrays as arguments, checks of arguments, the scope of a kernel.
//
// An argument `In<float, 2> x` takes a C-contiguous numpy array of that type and number of dimensions (any other
// is a TypeError); `Out` must be writable too. DIMS = ANY leaves the number open. The arrays outlive the call.
#pragma once

#define PY_ARRAY_UNIQUE_SYMBOL shoestring_numpy_api
#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#ifndef SHOESTRING_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#endif

#include <nanobind/nanobind.h>
#include <numpy/arrayobject.h>

#include <cstdint>
#include <string_view>

#include "dispatch.h"
#include "parallel.h"

namespace shoestring {

namespace nb = nanobind;

constexpr int ANY = -1;

// An IEEE half as bits.
struct Half {
    uint16_t bits;
};

template <class T>
struct NumpyType;
template <>
struct NumpyType<float> {
    static constexpr char kind = 'f';
};
template <>
struct NumpyType<double> {
    static constexpr char kind = 'f';
};
template <>
struct NumpyType<Half> {
    static constexpr char kind = 'f';
};
template <>
struct NumpyType<int32_t> {
    static constexpr char kind = 'i';
};
template <>
struct NumpyType<int64_t> {
    static constexpr char kind = 'i';
};
template <>
struct NumpyType<uint8_t> {
    static constexpr char kind = 'u';
};
template <>
struct NumpyType<uint32_t> {
    static constexpr char kind = 'u';
};

template <class T, int DIMS, bool WRITABLE>
struct NumpyArray {
    PyArrayObject* array = nullptr;

    T* data() const { return static_cast<T*>(PyArray_DATA(array)); }
    int dims() const { return PyArray_NDIM(array); }
    int64_t shape(int axis) const { return PyArray_DIM(array, axis); }
    int64_t size() const { return PyArray_SIZE(array); }

    bool accept(PyObject* object) {
        if (!PyArray_Check(object)) return false;
        array = reinterpret_cast<PyArrayObject*>(object);
        const PyArray_Descr* type = PyArray_DESCR(array);
        if (type->kind != NumpyType<T>::kind || PyArray_ITEMSIZE(array) != sizeof(T)) return false;
        if (DIMS != ANY && PyArray_NDIM(array) != DIMS) return false;
        return WRITABLE ? PyArray_ISCARRAY(array) : PyArray_ISCARRAY_RO(array);
    }
};

template <class T, int DIMS = ANY>
using In = NumpyArray<const T, DIMS, false>;
template <class T, int DIMS = ANY>
using Out = NumpyArray<T, DIMS, true>;
template <class T>
struct NumpyType<const T> : NumpyType<T> {};

// The scope of a kernel: releases Python's lock, admits one kernel at a time, sets the floating-point mode.
// Constructed after all checks; destroyed before Python's API is called again.
class KernelScope {
    nb::gil_scoped_release released_;
    KernelLock lock_;
    FloatingPointMode mode_;
};

inline void require(bool condition, const char* message) {
    if (!condition) throw nb::value_error(message);
}

// The type of that name; ValueError if there is none.
WeightType weight_type(std::string_view name);

void bind_matmul(nb::module_& module);
void bind_experts(nb::module_& module);
void bind_fused(nb::module_& module);
void bind_sequence(nb::module_& module);
void bind_rows(nb::module_& module);
void bind_io(nb::module_& module);
void bind_limits(nb::module_& module);
void bind_vision(nb::module_& module);

}  // namespace shoestring

namespace nanobind::detail {

template <class T, int DIMS, bool WRITABLE>
struct type_caster<shoestring::NumpyArray<T, DIMS, WRITABLE>> {
    using Array = shoestring::NumpyArray<T, DIMS, WRITABLE>;
    NB_TYPE_CASTER(Array, const_name("numpy.ndarray"))
    bool from_python(handle source, uint8_t, cleanup_list*) noexcept { return value.accept(source.ptr()); }
};

}  // namespace nanobind::detail
