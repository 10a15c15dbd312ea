/* SPDX-License-Identifier: Apache-2.0 */
/*
 * embed: turns SQL, Lua and other text files into one C source and one header.
 *   embed OUT.c OUT.h FILE...
 * schema/001_core.sql becomes `extern const char embed_schema_001_core_sql[]`; a table
 * embed_files[] lists name and text of all of them, sorted as given.
 * '?' is escaped as well: strict -std=c17 knows trigraphs. Of statements (SQL outside of schema/) the lines
 * that begin as comments are left out: PostgreSQL shows operators the first 1,024 bytes of what runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
symbol(FILE *out, const char *path)
{
	fputs("embed_", out);
	for (; *path != '\0'; path++)
		fputc((*path >= 'a' && *path <= 'z') || (*path >= '0' && *path <= '9') ||
			    (*path >= 'A' && *path <= 'Z')
			? *path
			: '_',
		    out);
}

static int
is_statement(const char *path)
{
	size_t n = strlen(path);

	return n > 4 && strcmp(path + n - 4, ".sql") == 0 && strncmp(path, "schema/", 7) != 0;
}

/* The next character that is not of a line "--"; EOF at the end. */
static int
next_character(FILE *in, int without_comments, int *is_first)
{
	int c = fgetc(in), second;

	while (without_comments && *is_first && c == '-') {
		second = fgetc(in);
		if (second != '-') {
			(void)ungetc(second, in);
			break;
		}
		while (c != '\n' && c != EOF)
			c = fgetc(in);
		c = c == EOF ? EOF : fgetc(in);
	}
	*is_first = c == '\n';
	return c;
}

static int
text(FILE *out, const char *path)
{
	FILE *in = fopen(path, "rb");
	int c, column = 0, is_first = 1, without_comments = is_statement(path);

	if (in == NULL) {
		perror(path);
		return -1;
	}
	fputs("[] = \"", out);
	while ((c = next_character(in, without_comments, &is_first)) != EOF) {
		if (c == '\n') {
			fputs("\\n\"\n\"", out);
			column = 0;
			continue;
		}
		if (c == '"' || c == '\\' || c == '?')
			fprintf(out, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			fprintf(out, "\\%03o", c);
		else
			fputc(c, out);
		if (++column == 400) {
			fputs("\"\n\"", out);
			column = 0;
		}
	}
	fputs("\";\n", out);
	fclose(in);
	return 0;
}

int
main(int argc, char **argv)
{
	FILE *source, *header;

	if (argc < 3 || (source = fopen(argv[1], "w")) == NULL ||
	    (header = fopen(argv[2], "w")) == NULL) {
		fputs("usage: embed OUT.c OUT.h FILE...\n", stderr);
		return 2;
	}
	fputs(
	    "/* made by tools/embed from the files named here */\n#include \"embed.h\"\n", source);
	fputs("/* made by tools/embed */\n#ifndef KAIRAN_EMBED_H\n#define KAIRAN_EMBED_H\n"
	      "struct embed_file { const char *name; const char *text; };\n"
	      "extern const struct embed_file embed_files[];\n",
	    header);
	for (int i = 3; i < argc; i++) {
		fputs("extern const char ", header);
		symbol(header, argv[i]);
		fputs("[];\n", header);
		fputs("const char ", source);
		symbol(source, argv[i]);
		if (text(source, argv[i]) < 0)
			return 1;
	}
	fputs("const struct embed_file embed_files[] = {\n", source);
	for (int i = 3; i < argc; i++) {
		fprintf(source, "\t{ \"%s\", ", argv[i]);
		symbol(source, argv[i]);
		fputs(" },\n", source);
	}
	fputs("\t{ 0, 0 },\n};\n", source);
	fputs("#endif\n", header);
	return fclose(source) != 0 || fclose(header) != 0;
}
