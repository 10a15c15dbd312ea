/* SPDX-License-Identifier: Apache-2.0 */
/*
 * embed: turns SQL, Lua and other text files into one C source and one header.
 *   embed OUT.c OUT.h FILE...
 * schema/001_core.sql becomes `extern const char embed_schema_001_core_sql[]`; a table
 * embed_files[] lists name and text of all of them, sorted as given.
 * '?' is escaped as well: strict -std=c17 knows trigraphs.
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
text(FILE *out, const char *path)
{
	FILE *in = fopen(path, "rb");
	int c, column = 0;

	if (in == NULL) {
		perror(path);
		return -1;
	}
	fputs("[] = \"", out);
	while ((c = fgetc(in)) != EOF) {
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
