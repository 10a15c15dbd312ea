/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_replay: runs one fuzz target over saved inputs, without libFuzzer: every file named in
 * argv, and every regular file directly inside a directory named there, in the order of their
 * names. Prints TAP: `1..N`, then one line per input. The first input is always the empty one.
 * A crash or a sanitizer report ends the process, so `ok` means survived. Files above 16 MiB
 * are refused.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX_BYTES (16U << 20)
#define INPUTS_MAX 100000U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct inputs {
	char **path; /* owned */
	size_t count;
	size_t room;
};

static void
fail(const char *what, const char *path)
{
	fprintf(stderr, "fuzz_replay: %s: %s: %s\n", what, path, strerror(errno));
	printf("Bail out! %s\n", path);
	exit(1);
}

static void
inputs_add(struct inputs *in, const char *dir, const char *name)
{
	char *path = NULL;

	if (in->count == INPUTS_MAX) {
		errno = E2BIG;
		fail("too many inputs", name);
	}
	if (in->count == in->room) {
		size_t room = in->room ? in->room * 2 : 64;
		char **grown = reallocarray(in->path, room, sizeof(*grown));

		if (!grown)
			fail("memory", name);
		in->path = grown;
		in->room = room;
	}
	if (asprintf(&path, "%s%s%s", dir, *dir ? "/" : "", name) < 0)
		fail("memory", name);
	in->path[in->count++] = path;
}

static int
by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void
inputs_add_dir(struct inputs *in, const char *dir)
{
	struct dirent **entry = NULL;
	int n = scandir(dir, &entry, NULL, by_name);

	if (n < 0)
		fail("cannot read", dir);
	for (int i = 0; i < n; i++) {
		struct stat st;

		if (entry[i]->d_name[0] != '.') {
			inputs_add(in, dir, entry[i]->d_name);
			if (stat(in->path[in->count - 1], &st) < 0)
				fail("cannot read", in->path[in->count - 1]);
			if (!S_ISREG(st.st_mode))
				free(in->path[--in->count]);
		}
		free(entry[i]);
	}
	free(entry);
}

/* The buffer is exactly as long as the input, so that one byte too far is seen. */
static void
replay(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;
	uint8_t *data;
	size_t size;

	if (!f || fstat(fileno(f), &st) < 0)
		fail("cannot read", path);
	if (st.st_size > (off_t)INPUT_MAX_BYTES) {
		errno = EFBIG;
		fail("too large", path);
	}
	size = (size_t)st.st_size;
	data = malloc(size ? size : 1);
	if (!data)
		fail("memory", path);
	if (fread(data, 1, size, f) != size)
		fail("cannot read", path);
	fclose(f);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
}

int
main(int argc, char **argv)
{
	struct inputs in = { 0 };
	uint8_t nothing = 0;

	for (int i = 1; i < argc; i++) {
		struct stat st;

		if (stat(argv[i], &st) < 0)
			fail("cannot read", argv[i]);
		if (S_ISDIR(st.st_mode))
			inputs_add_dir(&in, argv[i]);
		else
			inputs_add(&in, "", argv[i]);
	}
	printf("1..%zu\n", in.count + 1);
	LLVMFuzzerTestOneInput(&nothing, 0);
	puts("ok 1 - empty input");
	for (size_t i = 0; i < in.count; i++) {
		fflush(stdout);
		replay(in.path[i]);
		printf("ok %zu - %s\n", i + 2, in.path[i]);
		free(in.path[i]);
	}
	free(in.path);
	return 0;
}
