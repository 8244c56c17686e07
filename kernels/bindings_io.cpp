// Python bindings of the I/O pool: files, and the reader with its tickets.
#include "bindings.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <string>
#include <system_error>
#include <unordered_map>
#include <vector>

#include "io_pool.h"

namespace shoestring {
namespace {

using namespace nb::literals;

// Python's view of a file: pieces in flight keep the file alive too.
struct OpenFile {
    std::shared_ptr<IoFile> file;
};

void open_file(OpenFile* self, int descriptor, std::string name, bool buffered) {
    try {
        new (self) OpenFile{std::make_shared<IoFile>(descriptor, std::move(name), buffered)};
    } catch (const std::system_error& error) {
        errno = error.code().value();
        PyErr_SetFromErrno(PyExc_OSError);
        throw nb::python_error();
    }
}

nb::object array_object(PyArrayObject* array) { return nb::borrow(reinterpret_cast<PyObject*>(array)); }

int64_t number(nb::handle object, const char* name) { return nb::cast<int64_t>(object.attr(name)); }

struct PartOf {
    std::shared_ptr<IoFile> file;
    int64_t begin, end;
    std::vector<Target> targets;
};

// From ops.reading.Part and its targets.
PartOf part_of(nb::handle object) {
    PartOf part{nb::cast<const OpenFile&>(object.attr("file").attr("handle")).file,
                number(object, "begin"),
                number(object, "end"),
                {}};
    require(part.begin >= 0 && part.end >= part.begin, "a part begins at byte 0 or later, and ends later");
    for (nb::handle target : object.attr("targets"))
        part.targets.push_back({weight_type(nb::cast<std::string_view>(target.attr("type"))), number(target, "rows"),
                                number(target, "columns"), number(target, "offset"), number(target, "row_stride"),
                                number(target, "column_stride"), number(target, "destination")});
    return part;
}

class Reader {
  public:
    Reader(Out<uint8_t, 1> arena, int threads, int64_t buffer_bytes)
        : arena_(arena), arena_object_(array_object(arena.array)), pool_(threads, buffer_bytes) {}
    ~Reader() { close(); }

    int64_t submit(nb::handle parts, int priority) {
        std::vector<Piece> pieces;
        for (nb::handle object : parts) {
            const PartOf part = part_of(object);
            const int64_t most = pool_.most_bytes(*part.file);
            for (const Target& target : part.targets) {
                const char* wrong = fault(target, part.end - part.begin, arena_.size());
                require(wrong == nullptr, wrong);
                require(least_region(target) <= most, "the reader's buffers are too small for 16 rows of a target");
            }
            cut_targets(part.file, part.begin, part.targets, arena_.data(), most, pieces);
        }
        return ticket(std::move(pieces), priority, false, {});
    }

    int64_t read(const OpenFile& file, int64_t offset, Out<uint8_t, 1> out, int priority) {
        return bytes(file, offset, out.size(), out.data(), nullptr, priority, false, array_object(out.array));
    }
    int64_t skip(const OpenFile& file, int64_t offset, int64_t count, int priority) {
        return bytes(file, offset, count, nullptr, nullptr, priority, false, {});
    }
    int64_t write(const OpenFile& file, int64_t offset, In<uint8_t, 1> data, int priority, bool sync) {
        return bytes(file, offset, data.size(), nullptr, data.data(), priority, sync, array_object(data.array));
    }

    void set_priority(int64_t ticket, int priority) { pool_.set_priority(ticket, checked(priority)); }

    // The tickets that are done, or (ticket, file, offset, error, writing) of the one that failed.
    nb::object wait(std::vector<int64_t> tickets) {
        // Short, so that Ctrl-C comes through.
        constexpr std::chrono::milliseconds SLICE{50};
        while (true) {
            Waited waited;
            {
                nb::gil_scoped_release released;
                waited = pool_.wait(tickets, SLICE);
            }
            if (waited.unknown != 0)
                throw nb::value_error(
                    ("ticket " + std::to_string(waited.unknown) + " does not exist, or was waited for before").c_str());
            const Failure& failure = waited.failure;
            if (failure.error != 0) {
                arrays_.erase(failure.ticket);
                return nb::make_tuple(failure.ticket, failure.file, failure.offset, failure.error, failure.writing);
            }
            for (const int64_t number : waited.done) arrays_.erase(number);
            if (!waited.done.empty() || tickets.empty()) return nb::cast(waited.done);
            if (PyErr_CheckSignals() != 0) throw nb::python_error();
        }
    }

    nb::tuple counters() const {
        const IoCounters c = pool_.counters();
        return nb::make_tuple(c.bytes_asked, c.bytes_read, c.bytes_written, c.reads, c.retries, c.busy_seconds,
                              c.peak_in_flight);
    }
    int64_t nbytes() const { return pool_.nbytes(); }
    int64_t most_bytes(const OpenFile& file) const { return pool_.most_bytes(*file.file); }

    void close() {
        nb::gil_scoped_release released;
        pool_.close();
    }

  private:
    static Priority checked(int priority) {
        require(priority >= 0 && priority < NUM_PRIORITIES, "no such priority");
        return static_cast<Priority>(priority);
    }

    int64_t bytes(const OpenFile& open, int64_t offset, int64_t count, uint8_t* to, const uint8_t* from, int priority,
                  bool sync, nb::object array) {
        constexpr int64_t LARGEST = int64_t{1} << 60;
        require(offset >= 0 && count >= 0 && offset <= LARGEST && count <= LARGEST, "offset and size: not negative");
        std::vector<Piece> pieces;
        cut_bytes(open.file, offset, offset + count, to, from, pool_.most_bytes(*open.file), pieces);
        return ticket(std::move(pieces), priority, sync, std::move(array));
    }

    int64_t ticket(std::vector<Piece> pieces, int priority, bool sync, nb::object array) {
        const int64_t number = pool_.submit(std::move(pieces), checked(priority), sync);
        // Under Python's lock: no other thread can wait for a ticket that this call has not returned.
        if (array.is_valid() && number != 0) arrays_[number] = std::move(array);
        return number;
    }

    Out<uint8_t, 1> arena_;
    nb::object arena_object_;
    std::unordered_map<int64_t, nb::object> arrays_;  // what tickets in work write to or read from
    IoPool pool_;                                     // ends before the arrays do
};

// The least buffer_bytes of a reader that can read this part.
int64_t least_buffer(nb::handle object) {
    const PartOf part = part_of(object);
    int64_t least = 0;
    for (const Target& target : part.targets) {
        const char* wrong = fault(target, part.end - part.begin, INT64_MAX);
        require(wrong == nullptr, wrong);
        least = std::max(least, least_region(target));
    }
    return least + 2 * part.file->alignment();
}

}  // namespace

void bind_io(nb::module_& module) {
    nb::class_<OpenFile>(module, "OpenFile")
        .def("__init__", open_file, "descriptor"_a, "name"_a, "buffered"_a)
        .def_prop_ro("descriptor", [](const OpenFile& f) { return f.file->descriptor(); })
        .def_prop_ro("size", [](const OpenFile& f) { return f.file->size(); })
        .def_prop_ro("direct", [](const OpenFile& f) { return f.file->direct(); })
        .def_prop_ro("alignment", [](const OpenFile& f) { return f.file->alignment(); });
    nb::class_<Reader>(module, "Reader")
        .def(
            "__init__",
            [](Reader* self, Out<uint8_t, 1> arena, int threads, int64_t buffer_bytes) {
                // The largest alignment of a file is 64 KB, twice beside a region.
                require(threads >= 1 && threads <= MAX_THREADS, "threads: a number from 1 to 256");
                require(buffer_bytes >= (int64_t{256} << 10) && buffer_bytes <= (int64_t{1} << 30),
                        "buffer_bytes: from 256 KB to 1 GB");
                new (self) Reader(arena, threads, buffer_bytes);
            },
            "arena"_a, "threads"_a, "buffer_bytes"_a)
        .def("submit", &Reader::submit, "parts"_a, "priority"_a)
        .def("read", &Reader::read, "file"_a, "offset"_a, "out"_a, "priority"_a)
        .def("skip", &Reader::skip, "file"_a, "offset"_a, "count"_a, "priority"_a)
        .def("write", &Reader::write, "file"_a, "offset"_a, "data"_a, "priority"_a, "sync"_a)
        .def("set_priority", &Reader::set_priority, "ticket"_a, "priority"_a)
        .def("wait", &Reader::wait, "tickets"_a)
        .def("counters", &Reader::counters)
        .def_prop_ro("nbytes", &Reader::nbytes)
        .def("most_bytes", &Reader::most_bytes, "file"_a)
        .def("close", &Reader::close);
    module.def("least_buffer", least_buffer, "part"_a);
}

}  // namespace shoestring
