// The I/O pool under the sanitizers: callers at once, raised priorities, failures, closing with reads in flight.
#include "selftest.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "io_pool.h"

namespace shoestring::selftest {
namespace {

constexpr int64_t FILE_BYTES = 3'000'001, BUFFER_BYTES = 256 << 10;
constexpr std::chrono::milliseconds LONG{20000};

uint8_t byte_at(int64_t place) { return static_cast<uint8_t>(place * 2654435761u >> 13); }

// A file without a name, beside the program or in memory.
std::shared_ptr<IoFile> make_file(const char* folder, bool buffered) {
    char path[256];
    std::snprintf(path, sizeof path, "%s/shoestring-selftest-XXXXXX", folder);
    const int descriptor = mkstemp(path);
    if (descriptor < 0) std::abort();
    std::vector<uint8_t> bytes(FILE_BYTES);
    for (int64_t i = 0; i < FILE_BYTES; ++i) bytes[static_cast<size_t>(i)] = byte_at(i);
    if (write(descriptor, bytes.data(), bytes.size()) != FILE_BYTES || fsync(descriptor) != 0) std::abort();
    auto file = std::make_shared<IoFile>(descriptor, path, buffered);
    unlink(path);
    close(descriptor);
    return file;
}

std::vector<Piece> region(const IoPool& pool, const std::shared_ptr<IoFile>& file, int64_t begin,
                          std::vector<uint8_t>& to) {
    std::vector<Piece> pieces;
    cut_bytes(file, begin, begin + static_cast<int64_t>(to.size()), to.data(), nullptr, pool.most_bytes(*file), pieces);
    return pieces;
}

int callers_at_once(const std::shared_ptr<IoFile>& file, int threads) {
    IoPool pool(threads, BUFFER_BYTES);
    std::atomic<int> failures{0};
    auto call = [&](int caller) {
        Numbers numbers(static_cast<uint64_t>(caller));
        for (int turn = 0; turn < 20; ++turn) {
            std::vector<std::vector<uint8_t>> outs;
            std::vector<int64_t> begins, tickets;
            for (int i = 0; i < 3; ++i) {
                outs.emplace_back(numbers.next() % 700000);
                begins.push_back(numbers.next() % (FILE_BYTES - 700000));
            }
            begins[0] = FILE_BYTES - static_cast<int64_t>(outs[0].size());
            for (size_t i = 0; i < 3; ++i)
                tickets.push_back(pool.submit(region(pool, file, begins[i], outs[i]),
                                              static_cast<Priority>(numbers.next() % 3), false));
            pool.set_priority(tickets[1], Priority::NOW);
            std::vector<int64_t> left = tickets;
            while (!left.empty()) {
                const Waited waited = pool.wait(left, LONG);
                if (waited.failure.error != 0 || waited.unknown != 0 || waited.done.empty()) {
                    ++failures;
                    return;
                }
                for (int64_t number : waited.done) std::erase(left, number);
            }
            for (size_t i = 0; i < 3; ++i)
                for (size_t at = 0; at < outs[i].size(); ++at)
                    if (outs[i][at] != byte_at(begins[i] + static_cast<int64_t>(at))) {
                        ++failures;
                        return;
                    }
        }
    };
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller) callers.emplace_back(call, caller);
    for (std::thread& caller : callers) caller.join();
    const IoCounters counters = pool.counters();
    failures += counters.peak_in_flight > threads || counters.bytes_read < counters.bytes_asked;
    return expect(failures == 0, file->direct() ? "direct" : "buffered", "callers at once", threads);
}

int ends(const std::shared_ptr<IoFile>& file) {
    const char* name = file->direct() ? "direct" : "buffered";
    IoPool pool(2, BUFFER_BYTES);
    std::vector<uint8_t> out(1000);
    int failures = 0;
    for (int64_t begin : {FILE_BYTES - 999, FILE_BYTES, FILE_BYTES + 5000}) {
        const Waited waited = pool.wait({pool.submit(region(pool, file, begin, out), Priority::GUESS, false)}, LONG);
        failures += expect(waited.failure.error == Transfer::END_OF_FILE, name, "end of file", begin);
    }
    std::vector<uint8_t> data(300001, 7), back(data.size());
    std::vector<Piece> pieces;
    cut_bytes(file, 1001, 301002, nullptr, data.data(), pool.most_bytes(*file), pieces);
    Waited waited = pool.wait({pool.submit(std::move(pieces), Priority::NOW, true)}, LONG);
    failures += expect(waited.done.size() == 1, name, "write", waited.failure.error);
    waited = pool.wait({pool.submit(region(pool, file, 1001, back), Priority::NOW, false)}, LONG);
    failures += expect(back == data, name, "written bytes", 0);
    return failures;
}

int closed_in_flight(const std::shared_ptr<IoFile>& file) {
    int failures = 0;
    for (int turn = 0; turn < 20; ++turn) {
        std::vector<std::vector<uint8_t>> outs(20, std::vector<uint8_t>(500000));
        std::vector<int64_t> tickets;
        IoPool pool(3, BUFFER_BYTES);
        for (std::vector<uint8_t>& out : outs)
            tickets.push_back(pool.submit(region(pool, file, 0, out), static_cast<Priority>(turn % 3), false));
        std::thread closing([&] { pool.close(); });
        size_t ended = 0;
        for (int64_t number : tickets) {
            const Waited waited = pool.wait({number}, LONG);
            ended += waited.done.size() == 1 || waited.failure.error == Failure::CLOSED;
        }
        closing.join();
        failures += expect(ended == tickets.size(), "pool", "closing ends every ticket", turn);
        failures += expect(pool.submit({}, Priority::NOW, false) == 0, "pool", "closed", turn);
    }
    return failures;
}

}  // namespace

int io() {
    int failures = 0;
    for (const char* folder : {".", "/dev/shm"}) {
        if (access(folder, W_OK) != 0) continue;
        for (bool buffered : {false, true}) {
            const std::shared_ptr<IoFile> file = make_file(folder, buffered);
            for (int threads : {1, 2, 5}) failures += callers_at_once(file, threads);
            failures += closed_in_flight(file);
        }
        // ends() writes, and needs a file of its own that is open for writing.
        for (bool buffered : {false, true}) failures += ends(make_file(folder, buffered));
    }
    return failures;
}

}  // namespace shoestring::selftest
