#include "io_pool.h"

#include <algorithm>
#include <utility>

#include "arena.h"
#include "dispatch.h"

namespace shoestring {
namespace {

constexpr int64_t PAGE = 4096;

double seconds_since(std::chrono::steady_clock::time_point begin) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

IoPool::IoPool(int threads, int64_t buffer_bytes)
    : count_(threads),
      buffer_bytes_((buffer_bytes + PAGE - 1) / PAGE * PAGE),
      buffers_(map_arena(static_cast<size_t>(threads * buffer_bytes_))) {
    active();  // chosen here, so that no thread throws
    threads_.reserve(static_cast<size_t>(threads));
    try {
        for (int i = 0; i < threads; ++i)
            threads_.emplace_back([this, buffer = buffers_.get() + i * buffer_bytes_] { work(buffer); });
    } catch (...) {
        close();
        throw;
    }
}

IoPool::~IoPool() { close(); }

int64_t IoPool::submit(std::vector<Piece> pieces, Priority priority, bool sync) {
    auto ticket = std::make_unique<Ticket>();
    ticket->priority = priority;
    ticket->sync = sync;
    ticket->unfinished = pieces.size();
    ticket->done = pieces.empty();
    ticket->pieces = std::move(pieces);
    Lock lock(mutex_);
    if (closed_) return 0;
    const int64_t number = ticket->number = ++last_ticket_;
    for (const Piece& piece : ticket->pieces) counters_.bytes_asked += piece.end - piece.begin;
    if (!ticket->done) queues_[static_cast<int>(priority)].push_back(ticket.get());
    const bool several = ticket->pieces.size() > 1;
    tickets_[number] = std::move(ticket);
    lock.unlock();
    several ? work_.notify_all() : work_.notify_one();
    return number;
}

void IoPool::set_priority(int64_t number, Priority priority) {
    Lock lock(mutex_);
    const auto found = tickets_.find(number);
    if (found == tickets_.end()) return;
    Ticket& ticket = *found->second;
    if (ticket.next < ticket.pieces.size()) {
        std::erase(queues_[static_cast<int>(ticket.priority)], &ticket);
        queues_[static_cast<int>(priority)].push_back(&ticket);
    }
    ticket.priority = priority;
    lock.unlock();
    work_.notify_all();  // a thread that was left free may take it now
}

Waited IoPool::wait(const std::vector<int64_t>& tickets, std::chrono::milliseconds longest) {
    const auto deadline = std::chrono::steady_clock::now() + longest;
    Waited waited;
    Lock lock(mutex_);
    while (true) {
        for (const int64_t number : tickets) {
            const auto found = tickets_.find(number);
            if (found == tickets_.end()) {
                waited.unknown = number;
                return waited;
            }
            const Ticket& ticket = *found->second;
            if (!ticket.done) continue;
            if (ticket.failure.error != 0) {
                // The others that are done stay so for the next call.
                waited.done.clear();
                waited.failure = ticket.failure;
                tickets_.erase(found);
                return waited;
            }
            waited.done.push_back(number);
        }
        if (!waited.done.empty()) {
            for (const int64_t number : waited.done) tickets_.erase(number);
            return waited;
        }
        if (done_.wait_until(lock, deadline) == std::cv_status::timeout) return waited;
    }
}

IoCounters IoPool::counters() const {
    Lock lock(mutex_);
    IoCounters counters = counters_;
    if (reads_in_flight_ > 0) counters.busy_seconds += seconds_since(busy_since_);
    return counters;
}

void IoPool::close() {
    std::lock_guard closing(close_mutex_);
    Lock lock(mutex_);
    closed_ = true;
    for (auto& [number, ticket] : tickets_) {
        if (ticket->next < ticket->pieces.size()) drop_rest(*ticket);
        if (!ticket->done && ticket->failure.error == 0) ticket->failure = {Failure::CLOSED, false, number, 0, {}};
        if (ticket->unfinished == 0) ticket->done = true;
    }
    lock.unlock();
    work_.notify_all();
    done_.notify_all();
    for (std::thread& thread : threads_) {
        if (thread.joinable()) thread.join();
    }
}

// The rest is here because the queue would still lead to it.
void IoPool::drop_rest(Ticket& ticket) {
    std::erase(queues_[static_cast<int>(ticket.priority)], &ticket);
    ticket.unfinished -= ticket.pieces.size() - ticket.next;
    ticket.next = ticket.pieces.size();
}

bool IoPool::take(Ticket*& ticket, size_t& piece) {
    for (int priority = 0; priority < NUM_PRIORITIES; ++priority) {
        if (priority > 0 && count_ > 1 && low_pieces_ >= count_ - 1) return false;
        if (queues_[priority].empty()) continue;
        ticket = queues_[priority].front();
        piece = ticket->next++;
        if (ticket->next == ticket->pieces.size()) queues_[priority].pop_front();
        return true;
    }
    return false;
}

void IoPool::work(uint8_t* buffer) {
    Lock lock(mutex_);
    while (true) {
        Ticket* ticket = nullptr;
        size_t index = 0;
        while (!take(ticket, index)) {
            if (closed_) return;
            work_.wait(lock);
        }
        const bool low = ticket->priority != Priority::NOW;
        const Piece& piece = ticket->pieces[index];
        if (low) ++low_pieces_;
        if (piece.from == nullptr) begin_read();
        lock.unlock();
        const Transfer transfer = move(piece, buffer);
        lock.lock();
        if (low) --low_pieces_;
        finish(lock, *ticket, piece, transfer);
    }
}

void IoPool::begin_read() {
    if (reads_in_flight_++ == 0) busy_since_ = std::chrono::steady_clock::now();
    counters_.peak_in_flight = std::max(counters_.peak_in_flight, reads_in_flight_);
}

void IoPool::end_read() {
    if (--reads_in_flight_ == 0) counters_.busy_seconds += seconds_since(busy_since_);
}

Transfer IoPool::move(const Piece& piece, uint8_t* buffer) {
    IoFile& file = *piece.file;
    if (piece.from != nullptr) return file.write(piece.begin, piece.end, piece.from, buffer);
    const Transfer transfer = file.read(piece.begin, piece.end, buffer);
    {
        Lock lock(mutex_);
        end_read();
    }
    if (transfer.error != 0) return transfer;
    const uint8_t* bytes = buffer + (piece.begin - file.round_down(piece.begin));
    if (piece.to != nullptr) std::copy(bytes, bytes + (piece.end - piece.begin), piece.to);
    for (const Tile& tile : piece.tiles) {
        const Region region{bytes + (tile.offset - piece.begin), tile.rows, tile.columns, tile.row_stride,
                            tile.column_stride};
        active().pack->pack_tile(tile.type, region, tile.packed, tile.group_stride);
    }
    return transfer;
}

void IoPool::finish(Lock& lock, Ticket& ticket, const Piece& piece, const Transfer& transfer) {
    const bool writing = piece.from != nullptr;
    (writing ? counters_.bytes_written : counters_.bytes_read) += transfer.bytes;
    if (!writing) counters_.reads += transfer.calls;
    counters_.retries += transfer.retries;
    if (transfer.error != 0) {
        // Pieces are begun in order, so of several that fail the first one is always reported.
        if (ticket.failed == nullptr || &piece < ticket.failed) {
            ticket.failed = &piece;
            ticket.failure = {transfer.error, writing, ticket.number, transfer.offset, piece.file->name()};
        }
        if (ticket.next < ticket.pieces.size()) drop_rest(ticket);
    }
    if (ticket.unfinished == 1 && ticket.sync && ticket.failure.error == 0) {
        lock.unlock();
        const int error = piece.file->sync();
        lock.lock();
        if (error != 0) ticket.failure = {error, true, ticket.number, piece.begin, piece.file->name()};
    }
    if (--ticket.unfinished == 0) {
        ticket.done = true;
        done_.notify_all();
    }
}

}  // namespace shoestring
