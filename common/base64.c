/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base64: see base64.h. Twelve bits at a time are looked up as the two digits that they make; where the
 * processor has SSSE3, sixteen digits are made at once.
 */
#include "base64.h"

#include <stdint.h>
#include <string.h>
#ifdef __x86_64__
#include <tmmintrin.h>
#endif

static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Every digit behind `a`; every digit before those. */
#define TWO(a, b)                                                                                  \
	{                                                                                          \
		a, b                                                                               \
	}
#define ROW(a)                                                                                     \
	TWO(a, 'A'), TWO(a, 'B'), TWO(a, 'C'), TWO(a, 'D'), TWO(a, 'E'), TWO(a, 'F'), TWO(a, 'G'), \
	    TWO(a, 'H'), TWO(a, 'I'), TWO(a, 'J'), TWO(a, 'K'), TWO(a, 'L'), TWO(a, 'M'),          \
	    TWO(a, 'N'), TWO(a, 'O'), TWO(a, 'P'), TWO(a, 'Q'), TWO(a, 'R'), TWO(a, 'S'),          \
	    TWO(a, 'T'), TWO(a, 'U'), TWO(a, 'V'), TWO(a, 'W'), TWO(a, 'X'), TWO(a, 'Y'),          \
	    TWO(a, 'Z'), TWO(a, 'a'), TWO(a, 'b'), TWO(a, 'c'), TWO(a, 'd'), TWO(a, 'e'),          \
	    TWO(a, 'f'), TWO(a, 'g'), TWO(a, 'h'), TWO(a, 'i'), TWO(a, 'j'), TWO(a, 'k'),          \
	    TWO(a, 'l'), TWO(a, 'm'), TWO(a, 'n'), TWO(a, 'o'), TWO(a, 'p'), TWO(a, 'q'),          \
	    TWO(a, 'r'), TWO(a, 's'), TWO(a, 't'), TWO(a, 'u'), TWO(a, 'v'), TWO(a, 'w'),          \
	    TWO(a, 'x'), TWO(a, 'y'), TWO(a, 'z'), TWO(a, '0'), TWO(a, '1'), TWO(a, '2'),          \
	    TWO(a, '3'), TWO(a, '4'), TWO(a, '5'), TWO(a, '6'), TWO(a, '7'), TWO(a, '8'),          \
	    TWO(a, '9'), TWO(a, '+'), TWO(a, '/')

static const char pair[4096][2] = { ROW('A'), ROW('B'), ROW('C'), ROW('D'), ROW('E'), ROW('F'),
	ROW('G'), ROW('H'), ROW('I'), ROW('J'), ROW('K'), ROW('L'), ROW('M'), ROW('N'), ROW('O'),
	ROW('P'), ROW('Q'), ROW('R'), ROW('S'), ROW('T'), ROW('U'), ROW('V'), ROW('W'), ROW('X'),
	ROW('Y'), ROW('Z'), ROW('a'), ROW('b'), ROW('c'), ROW('d'), ROW('e'), ROW('f'), ROW('g'),
	ROW('h'), ROW('i'), ROW('j'), ROW('k'), ROW('l'), ROW('m'), ROW('n'), ROW('o'), ROW('p'),
	ROW('q'), ROW('r'), ROW('s'), ROW('t'), ROW('u'), ROW('v'), ROW('w'), ROW('x'), ROW('y'),
	ROW('z'), ROW('0'), ROW('1'), ROW('2'), ROW('3'), ROW('4'), ROW('5'), ROW('6'), ROW('7'),
	ROW('8'), ROW('9'), ROW('+'), ROW('/') };

#ifdef __x86_64__
/* Twelve bytes, sixteen digits; as long as sixteen bytes can be read. Returns the bytes done. */
__attribute__((target("ssse3"))) static size_t
put_by_sixteen(char *to, const unsigned char *s, size_t n)
{
	/* each group b0 b1 b2 as b1 b0 b2 b1: every digit lies whole in one half of a word */
	const __m128i spread = _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
	/* what a digit's kind adds to its value, by the kind: 0 a-z, 1-10 0-9, 11 +, 12 /, 13 A-Z */
	const __m128i add =
	    _mm_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
		'0' - 52, '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0);
	size_t done = 0;

	for (; n - done >= 16; done += 12, to += 16) {
		__m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(s + done));
		__m128i v = _mm_shuffle_epi8(bytes, spread), upper, kind;

		/* first and third digit down by 10 and 6 bits, second and fourth up by 4 and 8 */
		__m128i odd = _mm_mulhi_epu16(
		    _mm_and_si128(v, _mm_set1_epi32(0x0fc0fc00)), _mm_set1_epi32(0x04000040));
		__m128i even = _mm_mullo_epi16(
		    _mm_and_si128(v, _mm_set1_epi32(0x003f03f0)), _mm_set1_epi32(0x01000010));

		v = _mm_or_si128(odd, even);
		upper = _mm_and_si128(_mm_cmpgt_epi8(_mm_set1_epi8(26), v), _mm_set1_epi8(13));
		kind = _mm_or_si128(_mm_subs_epu8(v, _mm_set1_epi8(51)), upper);
		v = _mm_add_epi8(v, _mm_shuffle_epi8(add, kind));
		_mm_storeu_si128((__m128i *)(void *)to, v);
	}
	return done;
}
#endif

/* Six bytes, eight digits. */
static void
put_six(char *to, const unsigned char *s)
{
	uint64_t v;

	memcpy(&v, s, sizeof(v)); /* two more than are used */
	v = __builtin_bswap64(v);
	memcpy(to, pair[v >> 52], 2);
	memcpy(to + 2, pair[v >> 40 & 0xfff], 2);
	memcpy(to + 4, pair[v >> 28 & 0xfff], 2);
	memcpy(to + 6, pair[v >> 16 & 0xfff], 2);
}

char *
base64_put(char *to, const void *bytes, size_t n)
{
	const unsigned char *s = bytes;

#ifdef __x86_64__
	if (n >= 32 && __builtin_cpu_supports("ssse3")) {
		size_t done = put_by_sixteen(to, s, n);

		s += done;
		n -= done;
		to += done / 3 * 4;
	}
#endif
	if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
		for (; n >= 8; s += 6, n -= 6, to += 8)
			put_six(to, s);
	for (; n >= 3; s += 3, n -= 3, to += 4) {
		unsigned v = (unsigned)s[0] << 16 | (unsigned)s[1] << 8 | s[2];

		memcpy(to, pair[v >> 12], 2);
		memcpy(to + 2, pair[v & 0xfff], 2);
	}
	if (n > 0) {
		unsigned v = (unsigned)s[0] << 16 | (n == 2 ? (unsigned)s[1] << 8 : 0);

		memcpy(to, pair[v >> 12], 2);
		to[2] = n == 2 ? digit[v >> 6 & 63] : '=';
		to[3] = '=';
		to += 4;
	}
	return to;
}
