// What a GEMV costs on Q4_K weights as a file has them, against the packed form; no product of ours uses it.
//
//   g++ -std=c++20 -O3 -ffp-contract=off -mavx2 -mfma -mf16c -DSHOESTRING_VARIANT=probe -Ikernels bench/file_layout.cpp
//       kernels/parallel.cpp kernels/arena.cpp kernels/pack.cpp -lpthread -o build/file_layout && build/file_layout
//
// Streams matrices of the size of one expert's from memory, a set larger than any cache, in both forms in turn. Prints
// the median rate in file bytes a second of CPU time, times the threads, and whether the numbers are the same bits.
#include "matmul.h"

#include "arena.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <random>
#include <vector>

namespace probe {
namespace {

constexpr int64_t BLOCK_BYTES = 144, ROWS = 8;

// Σ over each of 8 vectors of 8 int32.
SHOESTRING_INLINE __m256i row_sums(const __m256i v[8]) {
    __m256i pairs[4];
    for (int i = 0; i < 4; ++i) pairs[i] = _mm256_hadd_epi32(v[2 * i], v[2 * i + 1]);
    const __m256i low = _mm256_hadd_epi32(pairs[0], pairs[1]), high = _mm256_hadd_epi32(pairs[2], pairs[3]);
    return _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x20), _mm256_permute2x128_si256(low, high, 0x31));
}

SHOESTRING_INLINE uint32_t word(const uint8_t* p) {
    uint32_t w;
    std::memcpy(&w, p, 4);
    return w;
}

// 8 rows of a file's Q4_K matrix times one token; asks for the same places of the next 8 rows.
void file_rows(const uint8_t* rows, int64_t stride, int64_t columns, const Token& x, float* out) {
    const __m256i low_nibbles = _mm256_set1_epi8(15);
    __m256 acc = _mm256_setzero_ps();
    for (int64_t b = 0; b < columns / 256; ++b) {
        __m256i sums[ROWS];
        __m128i mins[ROWS];
        alignas(16) uint16_t d[ROWS], dmin[ROWS];
        const int8_t* a = x.quants + 256 * b;
        const Block256& block = x.blocks_256[b];
        const __m128i a_sums = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block.sums));
        for (int r = 0; r < ROWS; ++r) {
            const uint8_t* p = rows + r * stride + b * BLOCK_BYTES;
            for (int line = 0; line < 3; ++line) _mm_prefetch(p + ROWS * stride + 64 * line, _MM_HINT_T0);
            std::memcpy(d + r, p, 2);
            std::memcpy(dmin + r, p + 2, 2);
            const uint32_t w0 = word(p + 4), w1 = word(p + 8), w2 = word(p + 12);
            const uint32_t s0 = w0 & 0x3f3f3f3f, s1 = (w2 & 0x0f0f0f0f) | (w0 >> 2 & 0x30303030);
            const uint32_t m0 = w1 & 0x3f3f3f3f, m1 = (w2 >> 4 & 0x0f0f0f0f) | (w1 >> 2 & 0x30303030);
            const __m256i both = _mm256_cvtepu8_epi16(
                _mm_set_epi32(static_cast<int>(m1), static_cast<int>(m0), static_cast<int>(s1), static_cast<int>(s0)));
            mins[r] = _mm_madd_epi16(_mm256_extracti128_si256(both, 1), a_sums);
            const __m256i scales = _mm256_broadcastsi128_si256(_mm256_castsi256_si128(both));
            __m256i total = _mm256_setzero_si256();
            SHOESTRING_UNROLL(4)
            for (int j = 0; j < 4; ++j) {
                const __m256i bytes = load_bytes(p + 16 + 32 * j);
                const __m256i first = _mm256_maddubs_epi16(_mm256_and_si256(bytes, low_nibbles),
                                                           load_bytes(reinterpret_cast<const uint8_t*>(a) + 64 * j));
                const __m256i second =
                    _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(bytes, 4), low_nibbles),
                                         load_bytes(reinterpret_cast<const uint8_t*>(a) + 64 * j + 32));
                const __m256i which = _mm256_set1_epi16(static_cast<int16_t>((4 * j + 1) << 8 | 4 * j));
                const __m256i other = _mm256_set1_epi16(static_cast<int16_t>((4 * j + 3) << 8 | (4 * j + 2)));
                total = _mm256_add_epi32(total, _mm256_madd_epi16(first, _mm256_shuffle_epi8(scales, which)));
                total = _mm256_add_epi32(total, _mm256_madd_epi16(second, _mm256_shuffle_epi8(scales, other)));
            }
            sums[r] = total;
        }
        __m256i min_vectors[ROWS];
        for (int r = 0; r < ROWS; ++r) min_vectors[r] = _mm256_zextsi128_si256(mins[r]);
        const __m256 scale = _mm256_set1_ps(block.scale);
        const __m256 whole = _mm256_cvtepi32_ps(row_sums(sums));
        const __m256 min_sum = _mm256_cvtepi32_ps(row_sums(min_vectors));
        acc = _mm256_fmadd_ps(whole, _mm256_mul_ps(load_halves(reinterpret_cast<uint8_t*>(d)), scale), acc);
        acc = _mm256_fnmadd_ps(min_sum, _mm256_mul_ps(load_halves(reinterpret_cast<uint8_t*>(dmin)), scale), acc);
    }
    _mm256_storeu_ps(out, acc);
}

// CPU time, so that a busy machine disturbs less; of all threads.
double seconds() {
    timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

void measure(int64_t rows, int64_t columns, int threads) {
    constexpr int64_t SET_BYTES = 384 << 20;
    const int64_t stride = columns / 256 * BLOCK_BYTES, file_bytes = rows * stride;
    const int64_t packed_bytes = shoestring::num_groups(rows) * shoestring::group_bytes(WeightType::Q4_K, columns);
    const int64_t count = SET_BYTES / file_bytes;
    const auto file = shoestring::map_arena(static_cast<size_t>(count * file_bytes));
    const auto packed = shoestring::map_arena(static_cast<size_t>(count * packed_bytes));
    std::mt19937_64 random(1);
    for (int64_t i = 0; i < count * file_bytes / 8; ++i) reinterpret_cast<uint64_t*>(file.get())[i] = random();
    for (int64_t i = 0; i < count * file_bytes / BLOCK_BYTES; ++i) {
        for (int half : {1, 3}) file.get()[i * BLOCK_BYTES + half] &= 0xbf;  // finite scales
    }
    for (int64_t m = 0; m < count; ++m)
        shoestring::pack_groups(WeightType::Q4_K, {file.get() + m * file_bytes, rows, columns, stride, 0}, 0,
                                shoestring::num_groups(rows), packed.get() + m * packed_bytes, false);
    std::vector<float> x(static_cast<size_t>(columns)), a(static_cast<size_t>(count * rows)), b = a;
    for (float& v : x) v = static_cast<float>(static_cast<int64_t>(random() >> 40)) * 0x1p-23f - 1.0f;
    std::vector<uint8_t> scratch(static_cast<size_t>(activation_bytes(1, columns, {false, true})));
    const Activations in = place(x.data(), columns, 1, columns, {false, true}, scratch.data());
    shoestring::set_num_threads(threads);
    quantize_rows(in, 1);
    const Token token = in.token(0, Activation::INT8_256);

    std::vector<double> file_rates, packed_rates;
    for (int turn = 0; turn < 7; ++turn) {
        const double begin = seconds();
        for (int64_t m = 0; m < count; ++m)
            parallel_for(rows / 16, 8, [&](int64_t first, int64_t last, int) {
                for (int64_t g = first; g < last; ++g)
                    tile<WeightType::Q4_K, 1, 1>(
                        {packed.get() + m * packed_bytes + g * (packed_bytes * 16 / rows), 0, nullptr, 0}, columns,
                        &token, a.data() + m * rows + 16 * g);
            });
        const double middle = seconds();
        for (int64_t m = 0; m < count; ++m)
            parallel_for(rows / 16, 8, [&](int64_t first, int64_t last, int) {
                for (int64_t r = 2 * first; r < 2 * last; ++r)
                    file_rows(file.get() + m * file_bytes + r * ROWS * stride, stride, columns, token,
                              b.data() + m * rows + ROWS * r);
            });
        const double end = seconds();
        packed_rates.push_back(static_cast<double>(threads * count * file_bytes) / (middle - begin) / 1e9);
        file_rates.push_back(static_cast<double>(threads * count * file_bytes) / (end - middle) / 1e9);
    }
    const bool same = std::memcmp(a.data(), b.data(), a.size() * 4) == 0;
    std::printf("%5lld x %5lld  %d threads  packed %5.1f GB/s  file %5.1f GB/s  %3.0f %%  %s\n",
                static_cast<long long>(rows), static_cast<long long>(columns), threads, median(packed_rates),
                median(file_rates), 100 * median(file_rates) / median(packed_rates), same ? "same bits" : "OTHER BITS");
}

}  // namespace
}  // namespace probe

int main() {
    for (int threads : {1, 2}) {
        probe::measure(512, 2048, threads);
        probe::measure(2048, 512, threads);
        probe::measure(1024, 4096, threads);
        probe::measure(4096, 1024, threads);
        probe::measure(8192, 5120, threads);
        probe::measure(5120, 8192, threads);
    }
}
