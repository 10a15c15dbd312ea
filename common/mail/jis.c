/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jis: see jis.h. The table has the two bytes of JIS X 0208 by code point; all of its characters
 * are in the first plane.
 */
#include "jis.h"

#include <iconv.h>
#include <stdint.h>

#include "mime.h"
#include "utf8.h"

#define ROWS 94

struct jis {
	uint16_t place[0x10000]; /* 0: none */
};

static uint32_t
code_point(const char *p, size_t n)
{
	const unsigned char *s = (const unsigned char *)p;
	uint32_t c = n == 1 ? s[0] : s[0] & (0x7fU >> n);

	for (size_t i = 1; i < n; i++)
		c = c << 6 | (s[i] & 0x3fU);
	return c;
}

/* Asks iconv for the character at one place; 0 when there is none. */
static uint32_t
character_at(iconv_t cd, unsigned char row, unsigned char cell)
{
	char in[] = { 0x1b, '$', 'B', (char)row, (char)cell, 0x1b, '(', 'B' };
	char out[16], *from = in, *to = out;
	size_t in_left = sizeof(in), out_left = sizeof(out), n;

	(void)iconv(cd, NULL, NULL, NULL, NULL);
	if (iconv(cd, &from, &in_left, &to, &out_left) != 0 || in_left != 0)
		return 0;
	n = sizeof(out) - out_left;
	if (n == 0 || utf8_char(out, n) != n)
		return 0;
	return code_point(out, n);
}

/* The code points that Windows has for places where iconv has others. */
static void
add_twins(struct jis *jis)
{
	static const uint16_t twins[][2] = { { 0xff5e, 0x301c }, { 0x2225, 0x2016 },
		{ 0xff0d, 0x2212 }, { 0xffe0, 0x00a2 }, { 0xffe1, 0x00a3 }, { 0xffe2, 0x00ac } };

	for (size_t i = 0; i < sizeof(twins) / sizeof(twins[0]); i++) {
		uint16_t *a = &jis->place[twins[i][0]], *b = &jis->place[twins[i][1]];

		if (*a == 0)
			*a = *b;
		else if (*b == 0)
			*b = *a;
	}
}

const struct jis *
jis_new(struct arena *arena)
{
	struct jis *jis = arena_alloc(arena, sizeof(*jis));
	iconv_t cd = iconv_open("UTF-8", "ISO-2022-JP");
	uint32_t c;

	if (cd == (iconv_t)-1)
		return NULL;
	for (unsigned row = 1; jis != NULL && row <= ROWS; row++) {
		for (unsigned cell = 1; cell <= ROWS; cell++) {
			c = character_at(
			    cd, (unsigned char)(row + 0x20), (unsigned char)(cell + 0x20));
			if (c >= 0x80 && c < 0x10000)
				jis->place[c] = (uint16_t)((row + 0x20) << 8 | (cell + 0x20));
		}
	}
	(void)iconv_close(cd);
	if (jis != NULL)
		add_twins(jis);
	return jis;
}

/* One character: its bytes (1 or 2) at dst, or 0 when it has no place. */
static size_t
place_of(const struct jis *jis, const char *p, size_t n, char dst[2])
{
	uint32_t c = code_point(p, n);
	uint16_t place;

	if (c < 0x80) {
		dst[0] = (char)c;
		return (c >= ' ' && c != 0x7f) || c == '\t' || c == '\r' || c == '\n';
	}
	place = c < 0x10000 ? jis->place[c] : 0;
	dst[0] = (char)(place >> 8);
	dst[1] = (char)(place & 0xff);
	return place != 0 ? 2 : 0;
}

/* dst NULL: only counts. */
static size_t
convert(const struct jis *jis, struct slice text, char *dst)
{
	size_t size = 0, state = 1, n, bytes;
	char c[2];

	for (size_t i = 0; i < text.len; i += n) {
		n = utf8_char(text.ptr + i, text.len - i);
		bytes = n > 0 ? place_of(jis, text.ptr + i, n, c) : 0;
		if (bytes == 0)
			return JIS_NO_PLACE;
		if (bytes != state) {
			if (dst != NULL)
				memcpy(dst + size, bytes == 2 ? "\x1b$B" : "\x1b(B", 3);
			size += 3;
			state = bytes;
		}
		if (dst != NULL)
			memcpy(dst + size, c, bytes);
		size += bytes;
	}
	if (state == 2) {
		if (dst != NULL)
			memcpy(dst + size, "\x1b(B", 3);
		size += 3;
	}
	return size;
}

size_t
jis_size(const struct jis *jis, struct slice text)
{
	return convert(jis, text, NULL);
}

size_t
jis_encode(const struct jis *jis, struct slice text, char *dst)
{
	return convert(jis, text, dst);
}
