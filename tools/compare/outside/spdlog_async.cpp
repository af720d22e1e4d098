// Lossless lines per second through spdlog's asynchronous logger, every line checked.
//
//     apt-get install g++ libspdlog-dev
//     g++ -std=c++17 -O2 -pthread spdlog_async.cpp -o spdlog_async -lspdlog -lfmt
//     ./spdlog_async [writers] [lines]
//
// A queue of 4096 messages that makes its writers wait (spdlog's default), one thread of spdlog's own that hands them to the sink, and
// a sink that checks. Nothing is formatted. Prints the JSON that `compare` prints for one measurement.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <spdlog/async.h>
#include <spdlog/async_logger.h>
#include <spdlog/details/null_mutex.h>
#include <spdlog/sinks/base_sink.h>

constexpr std::size_t kBytes = 100;
constexpr std::size_t kRoom = 4096;

struct Line {
    char bytes[kBytes];
};

// Line `number` of `writer`: both numbers, and a filling in which no word is another line's.
static Line line(std::uint64_t writer, std::uint64_t number) {
    Line made;
    std::uint64_t word = ((number << 10) ^ writer) * 0x9e3779b97f4a7c15u;
    for (std::size_t at = 0; at < kBytes; at += 8) {
        word += 0xd1b54a32d192ed03u;
        std::memcpy(made.bytes + at, &word, at + 8 <= kBytes ? 8 : kBytes - at);
    }
    std::memcpy(made.bytes, &writer, 8);
    std::memcpy(made.bytes + 8, &number, 8);
    return made;
}

// Used by spdlog's one thread alone.
class CheckingSink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
public:
    explicit CheckingSink(std::size_t writers) : next_(writers, 0) {}

    std::uint64_t lines() const { return lines_.load(std::memory_order_acquire); }
    std::uint64_t faults() const { return faults_; }

protected:
    void sink_it_(const spdlog::details::log_msg &message) override {
        std::uint64_t writer = next_.size();
        if (message.payload.size() == kBytes) std::memcpy(&writer, message.payload.data(), 8);
        if (writer >= next_.size()) {
            faults_ += 1;
        } else {
            const Line expected = line(writer, next_[writer]++);
            faults_ += std::memcmp(message.payload.data(), expected.bytes, kBytes) != 0;
        }
        lines_.store(lines_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }
    void flush_() override {}

private:
    std::vector<std::uint64_t> next_;
    std::uint64_t faults_ = 0;
    std::atomic<std::uint64_t> lines_{0};
};

int main(int count, char **arguments) {
    const std::size_t writers = count > 1 ? std::strtoul(arguments[1], nullptr, 10) : 1;
    const std::uint64_t lines = count > 2 ? std::strtoull(arguments[2], nullptr, 10) : 1000000;
    if (writers == 0 || writers > 256) {
        std::fprintf(stderr, "spdlog_async: 1 to 256 writers\n");
        return 2;
    }
    const std::uint64_t each = lines / writers, total = each * writers;
    auto pool = std::make_shared<spdlog::details::thread_pool>(kRoom, 1);
    auto sink = std::make_shared<CheckingSink>(writers);
    auto logger = std::make_shared<spdlog::async_logger>("compare", sink, pool, spdlog::async_overflow_policy::block);

    std::atomic<std::size_t> ready{0};
    std::atomic<bool> begun{false};
    std::vector<std::thread> threads;
    for (std::size_t writer = 0; writer < writers; ++writer) {
        threads.emplace_back([&, writer] {
            ready.fetch_add(1);
            while (!begun.load(std::memory_order_acquire)) std::this_thread::yield();
            for (std::uint64_t number = 0; number < each; ++number) {
                const Line made = line(writer, number);
                logger->log(spdlog::level::info, spdlog::string_view_t(made.bytes, kBytes));
            }
        });
    }
    while (ready.load() < writers) std::this_thread::yield();
    const auto start = std::chrono::steady_clock::now();
    begun.store(true, std::memory_order_release);
    // A minute without an end is a hang.
    while (sink->lines() < total && std::chrono::steady_clock::now() - start < std::chrono::minutes(1))
        std::this_thread::sleep_for(std::chrono::microseconds(100));
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    if (sink->lines() < total) {
        std::printf("{\"fault\":\"hangs: %llu of %llu lines in 60 s\"}\n", (unsigned long long)sink->lines(),
                    (unsigned long long)total);
        std::fflush(stdout);
        std::_Exit(0);
    }
    for (auto &thread : threads) thread.join();
    if (sink->faults() > 0)
        std::printf("{\"fault\":\"%llu of %llu lines are wrong\"}\n", (unsigned long long)sink->faults(),
                    (unsigned long long)total);
    else
        std::printf("{\"good\":{\"lines\":%llu,\"seconds\":%.9f,\"room\":%zu,\"resident_kib\":null,\"cost_ns\":null,"
                    "\"clock_ns\":null,\"syscalls\":null}}\n",
                    (unsigned long long)total, time.count(), kRoom);
}
