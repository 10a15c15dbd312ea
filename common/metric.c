/* SPDX-License-Identifier: Apache-2.0 */
/* metric: see metric.h. */
#include "metric.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define LABEL_MAX 100

static const double bounds[METRIC_BUCKETS - 1] = { 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
	0.1, 0.25, 0.5, 1, 2.5, 10, 60 };

void
metric_family(struct buf *out, const char *name, enum metric_type type, const char *help)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };

	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, types[type]);
}

static void
put_label(struct buf *out, const struct metric_label *label)
{
	size_t n = strnlen(label->value, LABEL_MAX + 1);

	if (n > LABEL_MAX) /* whole characters only: the format is UTF-8 */
		for (n = LABEL_MAX; n > 0 && ((unsigned char)label->value[n] & 0xc0) == 0x80;)
			n--;
	buf_printf(out, "%s=\"", label->name);
	for (size_t i = 0; i < n; i++) {
		char c = label->value[i];

		if (c == '\\' || c == '"')
			buf_append_char(out, '\\');
		if (c == '\n')
			buf_append_str(out, "\\n");
		else
			buf_append_char(out, c);
	}
	buf_append_char(out, '"');
}

/* name{labels,le="…"}; le NULL: none */
static void
put_name(struct buf *out, const char *name, const char *suffix, const struct metric_label *labels,
    size_t count, const char *le)
{
	buf_printf(out, "%s%s", name, suffix);
	if (count == 0 && le == NULL)
		return;
	buf_append_char(out, '{');
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			buf_append_char(out, ',');
		put_label(out, &labels[i]);
	}
	if (le != NULL)
		buf_printf(out, "%sle=\"%s\"", count > 0 ? "," : "", le);
	buf_append_char(out, '}');
}

static void
put_value(struct buf *out, double value)
{
	if (isnan(value))
		buf_append_str(out, " NaN\n");
	else if (isinf(value))
		buf_append_str(out, value > 0 ? " +Inf\n" : " -Inf\n");
	else
		buf_printf(out, " %.15g\n", value);
}

void
metric_sample(struct buf *out, const char *name, const struct metric_label *labels, size_t count,
    double value)
{
	put_name(out, name, "", labels, count, NULL);
	put_value(out, value);
}

void
metric_one(struct buf *out, const char *name, enum metric_type type, const char *help, double value)
{
	metric_family(out, name, type, help);
	metric_sample(out, name, NULL, 0, value);
}

void
metric_observe(struct metric_histogram *h, double seconds)
{
	size_t i = 0;

	while (i < METRIC_BUCKETS - 1 && seconds > bounds[i])
		i++;
	h->buckets[i]++;
	h->sum_s += seconds;
}

void
metric_histogram(struct buf *out, const char *name, const struct metric_label *labels, size_t count,
    const struct metric_histogram *h)
{
	uint64_t total = 0;
	char le[24];

	for (size_t i = 0; i < METRIC_BUCKETS; i++) {
		total += h->buckets[i];
		if (i < METRIC_BUCKETS - 1)
			(void)snprintf(le, sizeof(le), "%g", bounds[i]);
		else
			(void)snprintf(le, sizeof(le), "+Inf");
		put_name(out, name, "_bucket", labels, count, le);
		buf_printf(out, " %" PRIu64 "\n", total);
	}
	put_name(out, name, "_sum", labels, count, NULL);
	put_value(out, h->sum_s);
	put_name(out, name, "_count", labels, count, NULL);
	buf_printf(out, " %" PRIu64 "\n", total);
}

/* ---- the process ---- */

static void
put_files(struct buf *out)
{
	struct rlimit limit;
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	if (dir != NULL) {
		while (readdir(dir) != NULL)
			n++;
		(void)closedir(dir);
		/* ".", "..", and the one it was read by */
		metric_one(out, "process_open_fds", METRIC_GAUGE, "Open file descriptors",
		    n > 3 ? n - 3 : 0);
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		metric_one(out, "process_max_fds", METRIC_GAUGE, "Most open file descriptors",
		    limit.rlim_cur == RLIM_INFINITY ? (double)INFINITY : (double)limit.rlim_cur);
}

/* proc(5): fields of /proc/self/stat behind the last ')'. */
static void
put_stat(struct buf *out)
{
	unsigned long user = 0, kernel = 0, bytes = 0;
	unsigned long long start = 0, boot = 0;
	long resident = 0, ticks = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);
	char line[1024] = "";
	const char *rest;
	FILE *file = fopen("/proc/self/stat", "re");
	size_t n = file != NULL ? fread(line, 1, sizeof(line) - 1, file) : 0;

	if (file != NULL)
		(void)fclose(file);
	line[n] = '\0';
	rest = strrchr(line, ')');
	if (rest == NULL || ticks <= 0 || page <= 0 ||
	    sscanf(rest + 1,
		" %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %llu "
		"%lu %ld",
		&user, &kernel, &start, &bytes, &resident) != 5)
		return;
	metric_one(out, "process_cpu_seconds_total", METRIC_COUNTER,
	    "Processor time of user and kernel", (double)(user + kernel) / (double)ticks);
	metric_one(
	    out, "process_virtual_memory_bytes", METRIC_GAUGE, "Address space", (double)bytes);
	metric_one(out, "process_resident_memory_bytes", METRIC_GAUGE, "Memory in use",
	    (double)resident * (double)page);
	file = fopen("/proc/stat", "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "btime %llu", &boot) == 1)
			break;
	if (file != NULL)
		(void)fclose(file);
	if (boot > 0)
		metric_one(out, "process_start_time_seconds", METRIC_GAUGE,
		    "Start of the process, since 1970",
		    (double)boot + (double)start / (double)ticks);
}

void
metric_process(struct buf *out, const char *program)
{
	const struct metric_label labels[] = { { "program", program },
		{ "version", KAIRAN_VERSION } };

	metric_family(out, "kairan_build_info", METRIC_GAUGE, "1, with program and version");
	metric_sample(out, "kairan_build_info", labels, 2, 1);
	put_stat(out);
	put_files(out);
}
