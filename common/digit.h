/* SPDX-License-Identifier: Apache-2.0 */
/* digit: the value of one character of base 16 and base 64 (RFC 4648 sections 4 and 8). Pure. */
#ifndef KAIRAN_DIGIT_H
#define KAIRAN_DIGIT_H

/* 0 to 15, letters of either case; -1: no digit. */
static inline int
digit_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 0 to 63; -1: no digit, '=' among them. */
static inline int
digit_base64(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

#endif
