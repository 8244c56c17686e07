// Python bindings of mixtures of experts: the table of a layer, the op at once, in place, and in pieces; arenas.
#include "bindings.h"

#include <nanobind/stl/array.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "arena.h"
#include "expert_pairs.h"
#include "matrix.h"

namespace shoestring {
namespace {

using namespace nb::literals;

int64_t round_up_64(int64_t n) { return (n + 63) / 64 * 64; }

int64_t matrix_bytes(const MatrixView& m) { return num_groups(m.rows) * group_bytes(m.type, m.columns); }

// The experts of a layer: matrices of its own, or views of slots in arenas that come and go. A view without data is an
// absent expert. Views change and are read under the KernelLock, so no kernel ever sees one disappear.
struct ExpertTable {
    std::vector<ExpertView> views;
    std::vector<Matrix> matrices;    // gate, up, down of each expert; empty: the experts are put
    std::vector<nb::object> arenas;  // of each expert that is put

    int64_t count() const { return static_cast<int64_t>(views.size()); }
    int64_t hidden_size() const { return views[0].gate.columns; }
    int64_t width() const { return views[0].gate.rows; }
    bool has(int64_t expert) const { return views[static_cast<size_t>(expert)].gate.data != nullptr; }
    std::array<int64_t, 4> slot() const {  // where gate, up, down begin; the end
        const int64_t up = round_up_64(matrix_bytes(views[0].gate)), down = up + round_up_64(matrix_bytes(views[0].up));
        return {0, up, down, down + round_up_64(matrix_bytes(views[0].down))};
    }
    int64_t nbytes() const {
        int64_t total = 0;
        for (const Matrix& matrix : matrices) total += static_cast<int64_t>(matrix.bytes.size);
        if (matrices.empty()) {
            for (int64_t e = 0; e < count(); ++e) total += has(e) ? slot()[3] : 0;
        }
        return total;
    }
};

[[noreturn]] void refuse(int64_t expert, const char* why) {
    throw nb::value_error(("experts: expert " + std::to_string(expert) + why).c_str());
}

void make_table(ExpertTable* self, nb::sequence gate, nb::sequence up, nb::sequence down) {
    const size_t count = nb::len(gate);
    require(count >= 1 && nb::len(up) == count && nb::len(down) == count, "experts: as many gate as up and down");
    ExpertTable table;
    const MatrixView first = nb::cast<const Matrix&>(gate[0]).view;
    for (size_t e = 0; e < count; ++e) {
        const Matrix& g = nb::cast<const Matrix&>(gate[e]);
        const Matrix& u = nb::cast<const Matrix&>(up[e]);
        const Matrix& d = nb::cast<const Matrix&>(down[e]);
        require(g.view.rows == first.rows && g.view.columns == first.columns && u.view.rows == first.rows &&
                    u.view.columns == first.columns && d.view.rows == first.columns && d.view.columns == first.rows,
                "experts: gate and up are [width, hidden], down [hidden, width], the same for all");
        table.views.push_back({g.view, u.view, d.view});
        for (const Matrix* matrix : {&g, &u, &d}) table.matrices.push_back(*matrix);
    }
    new (self) ExpertTable(std::move(table));
}

ExpertTable* empty_table(int64_t count, std::string_view gate, std::string_view up, std::string_view down,
                         int64_t hidden_size, int64_t width) {
    constexpr int64_t MOST = 1 << 24;
    require(count >= 1 && count <= MOST, "experts: a table has at least one expert");
    require(hidden_size >= 1 && hidden_size <= MOST && width >= 1 && width <= MOST, "experts: sizes are at least 1");
    const auto view = [](std::string_view type_name, int64_t rows, int64_t columns) {
        const WeightType type = weight_type(type_name);
        require(columns % format(type).block == 0, "experts: a matrix's columns are whole blocks of its type");
        return MatrixView{type, rows, columns, nullptr};
    };
    const ExpertView absent{view(gate, width, hidden_size), view(up, width, hidden_size),
                            view(down, hidden_size, width)};
    auto table = std::make_unique<ExpertTable>();
    table->views.assign(static_cast<size_t>(count), absent);
    table->arenas.resize(static_cast<size_t>(count));
    return table.release();
}

void check_changes(const ExpertTable& table, int64_t expert) {
    require(table.matrices.empty(), "experts: this table's experts are resident; only an empty table's are put");
    if (expert < 0 || expert >= table.count()) refuse(expert, ": the table has no such expert");
}

void show(ExpertTable& table, int64_t expert, const uint8_t* gate, const uint8_t* up, const uint8_t* down) {
    ExpertView& view = table.views[static_cast<size_t>(expert)];
    view.gate.data = gate;
    view.up.data = up;
    view.down.data = down;
}

// The lock's holder never waits for the interpreter while it holds it, so waiting here with the interpreter is safe.
void put(ExpertTable& table, int64_t expert, In<uint8_t, 1> arena, int64_t offset) {
    check_changes(table, expert);
    const std::array<int64_t, 4> slot = table.slot();
    require(offset >= 0 && offset <= arena.size() && slot[3] <= arena.size() - offset,
            "experts: the slot does not lie inside the arena");
    const uint8_t* begin = arena.data() + offset;
    require(reinterpret_cast<uintptr_t>(begin) % 64 == 0, "experts: a slot begins at a multiple of 64 bytes");
    nb::object owner = nb::borrow(reinterpret_cast<PyObject*>(arena.array));
    {
        KernelLock lock;
        show(table, expert, begin + slot[0], begin + slot[1], begin + slot[2]);
    }
    std::swap(table.arenas[static_cast<size_t>(expert)], owner);
}

void drop(ExpertTable& table, int64_t expert) {
    check_changes(table, expert);
    if (!table.has(expert)) refuse(expert, " is absent");
    {
        KernelLock lock;
        show(table, expert, nullptr, nullptr, nullptr);
    }
    nb::object arena = std::move(table.arenas[static_cast<size_t>(expert)]);
}

// Gate, up and down of a resident expert, which share its memory.
std::array<Matrix, 3> matrices_of(const ExpertTable& table, int64_t expert) {
    require(!table.matrices.empty(), "experts: only resident ones have matrices; slots come and go");
    if (expert < 0 || expert >= table.count()) refuse(expert, ": the table has no such expert");
    const Matrix* first = &table.matrices[static_cast<size_t>(3 * expert)];
    return {first[0], first[1], first[2]};
}

// A step's rows, their experts and weights as arguments.
struct Routed {
    In<float, 2> x;
    In<int32_t, 2> ids;
    In<float, 2> weights;

    int64_t rows() const { return x.shape(0); }
    int64_t slots() const { return ids.shape(1); }
};

Routed checked_routed(const In<float, 2>& x, const In<int32_t, 2>& ids, const In<float, 2>& weights,
                      const ExpertTable& table) {
    const Routed routed{x, ids, weights};
    const int64_t rows = routed.rows(), slots = routed.slots();
    require(x.shape(1) == table.hidden_size(), "experts: x is [rows, hidden]");
    require(ids.shape(0) == rows && weights.shape(0) == rows && weights.shape(1) == slots && slots >= 1,
            "experts: ids, weights [rows, slots]");
    for (int64_t i = 0; i < rows * slots; ++i)
        require(ids.data()[i] >= 0 && ids.data()[i] < table.count(), "experts: no such expert");
    return routed;
}

SortedPairs sorted(const Routed& r, const ExpertTable& table, const std::vector<int64_t>* wanted) {
    return sort_pairs(r.ids.data(), r.weights.data(), r.rows(), r.slots(), table.views, wanted);
}

void check_present(const SortedPairs& pairs, const ExpertTable& table) {
    for (int64_t expert : pairs.experts) {
        if (!table.has(expert)) refuse(expert, " is absent: put it before it is computed");
    }
}

// All pieces at once, in the kernels' scratch.
void experts(In<float, 2> x, In<int32_t, 2> ids, In<float, 2> weights, const ExpertTable& table, bool scale_input,
             Out<float, 2> out) {
    const Routed routed = checked_routed(x, ids, weights, table);
    const int64_t rows = routed.rows(), slots = routed.slots(), hidden = table.hidden_size();
    require(out.shape(0) == rows && out.shape(1) == hidden, "experts: out is [rows, hidden]");
    float* sums = out.data();
    KernelScope scope;
    const SortedPairs sorted_pairs = sorted(routed, table, nullptr);
    check_present(sorted_pairs, table);
    const RoutedPairs pairs = sorted_pairs.routed(x.data(), rows, scale_input, table.views[0]);
    const std::vector<int64_t> row_pairs = pairs_by_row(sorted_pairs, rows, slots);
    const MatmulTable& m = *active().matmul;
    const int64_t bytes = m.call_bytes(rows, pairs.num_pairs, hidden, table.width(), scale_input);
    uint8_t* memory = static_cast<uint8_t*>(shared_scratch(static_cast<size_t>(bytes)));
    m.all_pieces(pairs, row_pairs.data(), slots, memory, sums);
}

void add_experts(In<float, 2> x, In<int32_t, 2> ids, In<float, 2> weights, const ExpertTable& table,
                 std::vector<int64_t> experts, bool scale_input, Out<float, 2> out) {
    const Routed routed = checked_routed(x, ids, weights, table);
    require(out.shape(0) == routed.rows() && out.shape(1) == table.hidden_size(), "experts: out is [rows, hidden]");
    for (size_t i = 0; i < experts.size(); ++i) {
        if (experts[i] < 0 || experts[i] >= table.count()) refuse(experts[i], ": the table has no such expert");
        require(i == 0 || experts[i - 1] < experts[i], "experts: in ascending order, each once");
    }
    float* sums = out.data();
    KernelScope scope;
    const SortedPairs pairs = sorted(routed, table, &experts);
    check_present(pairs, table);
    active().matmul->add_experts(pairs.routed(x.data(), routed.rows(), scale_input, table.views[0]), sums);
}

// A call in pieces. The table, `memory` and x are the caller's, kept alive; what indexes them is the call's own.
struct ExpertCall {
    enum class Step : uint8_t { BEGUN, GATE_UP, DOWN };

    SortedPairs pairs;
    RoutedPairs routed;
    std::vector<int64_t> row_pairs;
    std::vector<Step> steps;  // of each share
    int64_t slots;
    const ExpertTable* table;
    uint8_t* memory;
};

int64_t expert_call_bytes(const ExpertTable& table, int64_t rows, int64_t slots, bool scale_input) {
    constexpr int64_t MOST = 1 << 24;
    require(rows >= 0 && rows <= MOST && slots >= 1 && slots <= MOST, "experts: rows and slots are not negative");
    return active().matmul->call_bytes(rows, rows * slots, table.hidden_size(), table.width(), scale_input);
}

ExpertCall* begin_experts(In<float, 2> x, In<int32_t, 2> ids, In<float, 2> weights, const ExpertTable& table,
                          bool scale_input, Out<float, 1> memory) {
    const Routed routed = checked_routed(x, ids, weights, table);
    require(4 * memory.size() >= expert_call_bytes(table, routed.rows(), routed.slots(), scale_input) &&
                reinterpret_cast<uintptr_t>(memory.data()) % 64 == 0,
            "experts: the memory of a call has expert_call_bytes and begins at a multiple of 64");
    auto call = std::make_unique<ExpertCall>();
    call->slots = routed.slots();
    call->table = &table;
    call->memory = reinterpret_cast<uint8_t*>(memory.data());
    KernelScope scope;
    call->pairs = sorted(routed, table, nullptr);
    call->routed = call->pairs.routed(routed.x.data(), routed.rows(), scale_input, table.views[0]);
    call->row_pairs = pairs_by_row(call->pairs, routed.rows(), routed.slots());
    call->steps.assign(call->pairs.shares.size(), ExpertCall::Step::BEGUN);
    active().matmul->begin_call(call->routed, call->memory);
    return call.release();
}

// The next step of `experts`, those that no row chose left out.
template <auto MatmulTable::* function, ExpertCall::Step before, ExpertCall::Step after>
void next_step(ExpertCall& call, std::vector<int64_t> experts) {
    const ExpertTable& table = *call.table;
    std::sort(experts.begin(), experts.end());
    std::vector<size_t> places;
    for (size_t i = 0; i < experts.size(); ++i) {
        const int64_t expert = experts[i];
        if (expert < 0 || expert >= table.count()) refuse(expert, ": the table has no such expert");
        if (i > 0 && experts[i - 1] == expert) refuse(expert, " is named twice");
        const std::vector<int64_t>& chosen = call.pairs.experts;
        const auto found = std::lower_bound(chosen.begin(), chosen.end(), expert);
        if (found == chosen.end() || *found != expert) continue;
        const size_t place = static_cast<size_t>(found - chosen.begin());
        if (call.steps[place] != before) {
            const bool early = call.steps[place] == ExpertCall::Step::BEGUN;
            refuse(expert, early ? ": gate_up comes before down" : ": this step is done already");
        }
        places.push_back(place);
    }
    KernelScope scope;
    std::vector<ExpertShare> shares;
    for (size_t place : places) {
        const int64_t expert = call.pairs.experts[place];
        if (!table.has(expert)) refuse(expert, " is absent: put it before it is computed");
        shares.push_back(call.pairs.shares[place]);
        shares.back().expert = table.views[static_cast<size_t>(expert)];
    }
    (active().matmul->*function)(call.routed, shares.data(), static_cast<int64_t>(shares.size()), call.memory);
    for (size_t place : places) call.steps[place] = after;
}

void sum_experts(const ExpertCall& call, Out<float, 2> out) {
    require(out.shape(0) == call.routed.num_rows && out.shape(1) == call.routed.hidden_size,
            "experts: out is [rows, hidden]");
    for (size_t i = 0; i < call.steps.size(); ++i) {
        if (call.steps[i] != ExpertCall::Step::DOWN) refuse(call.pairs.experts[i], ": its down is not computed yet");
    }
    float* sums = out.data();
    KernelScope scope;
    active().matmul->sum_call(call.routed, call.row_pairs.data(), call.slots, call.memory, sums);
}

// A numpy array over the mapping, which goes with its last view.
nb::object arena(int64_t nbytes) {
    require(nbytes >= 0, "arena: a number of bytes");
    auto* owner = new std::shared_ptr<uint8_t>(map_arena(static_cast<size_t>(nbytes)));
    nb::capsule capsule(owner, [](void* p) noexcept { delete static_cast<std::shared_ptr<uint8_t>*>(p); });
    npy_intp length = nbytes;
    PyObject* array = PyArray_SimpleNewFromData(1, &length, NPY_UINT8, owner->get());
    if (array == nullptr) throw nb::python_error();
    nb::object result = nb::steal(array);
    if (PyArray_SetBaseObject(reinterpret_cast<PyArrayObject*>(array), capsule.release().ptr()) != 0)
        throw nb::python_error();
    return result;
}

}  // namespace

void bind_experts(nb::module_& module) {
    using Step = ExpertCall::Step;
    module.def("arena", arena);
    nb::class_<ExpertTable>(module, "ExpertTable")
        .def("__init__", make_table, "gate"_a, "up"_a, "down"_a)
        .def_static("empty", empty_table, nb::rv_policy::take_ownership)
        .def("put", put, "expert"_a, "arena"_a, "offset"_a)
        .def("drop", drop, "expert"_a)
        .def("matrices", matrices_of, "expert"_a)
        .def("__contains__", [](const ExpertTable& t, int64_t e) { return e >= 0 && e < t.count() && t.has(e); })
        .def("__len__", [](const ExpertTable& t) { return t.count(); })
        .def_prop_ro("hidden_size", &ExpertTable::hidden_size)
        .def_prop_ro("width", &ExpertTable::width)
        .def_prop_ro("types",
                     [](const ExpertTable& t) {
                         const ExpertView& view = t.views[0];
                         return nb::make_tuple(format(view.gate.type).name, format(view.up.type).name,
                                               format(view.down.type).name);
                     })
        .def_prop_ro("nbytes", &ExpertTable::nbytes)
        .def_prop_ro("slot_bytes", [](const ExpertTable& t) { return t.slot()[3]; })
        .def_prop_ro("part_offsets", [](const ExpertTable& t) {
            const std::array<int64_t, 4> slot = t.slot();
            return nb::make_tuple(slot[0], slot[1], slot[2]);
        });
    module.def("experts", experts);
    module.def("add_experts", add_experts);
    nb::class_<ExpertCall>(module, "ExpertCall")
        .def_prop_ro("rows", [](const ExpertCall& c) { return c.routed.num_rows; })
        .def_prop_ro("hidden_size", [](const ExpertCall& c) { return c.routed.hidden_size; })
        .def_prop_ro("experts", [](const ExpertCall& c) { return c.pairs.experts; });
    module.def("expert_call_bytes", expert_call_bytes);
    module.def("begin_experts", begin_experts, nb::rv_policy::take_ownership, nb::keep_alive<0, 1>(),
               nb::keep_alive<0, 4>(), nb::keep_alive<0, 6>());
    module.def("gate_up", next_step<&MatmulTable::gate_up, Step::BEGUN, Step::GATE_UP>);
    module.def("down", next_step<&MatmulTable::down, Step::GATE_UP, Step::DOWN>);
    module.def("sum_experts", sum_experts);
}

}  // namespace shoestring
