/* SPDX-License-Identifier: Apache-2.0 */
/* sim_world: see sim.h. Events, fibers, and the calls by which a process reaches its memory, its files,
 * the clock and chance. Those are wrapped by the linker (--wrap), for objects of this repository. */
#include <errno.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "contain.h"
#include "crash.h"
#include "journal.h"
#include "sim.h"

#ifdef KAIRAN_SANITIZED
#include <sanitizer/common_interface_defs.h>
#define FIBER_START(save, stack, bytes) __sanitizer_start_switch_fiber(save, stack, bytes)
#define FIBER_FINISH(saved, stack, bytes) __sanitizer_finish_switch_fiber(saved, stack, bytes)
#else
#define FIBER_START(save, stack, bytes) ((void)0)
#define FIBER_FINISH(saved, stack, bytes) ((void)0)
#endif

#define STACK_BYTES ((size_t)512 << 10)
#define JOURNAL_SLOTS 64  /* at most; few, so that the ring goes round and is full at times */
#define JOURNAL_LONG 1024 /* as small as may be configured: holds whatever a fail-over may lose */

struct sim sim;
struct sim_process *sim_self;

int dispatcher_main(int argc, char **argv);

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);

/* Everything of the world is taken back when the next one begins. */
struct block {
	struct block *next, *before;
	_Alignas(16) char bytes[];
};
static struct block blocks = { &blocks, &blocks };

void *
sim_alloc(size_t bytes)
{
	struct block *b = __real_calloc(1, sizeof(*b) + bytes);

	if (b == NULL)
		abort();
	b->next = blocks.next;
	b->before = &blocks;
	b->next->before = b;
	blocks.next = b;
	return b->bytes;
}

void
sim_free(void *p)
{
	struct block *b = p != NULL ? (struct block *)(void *)((char *)p - sizeof(*b)) : NULL;

	if (b == NULL)
		return;
	b->next->before = b->before;
	b->before->next = b->next;
	__real_free(b);
}

static void
free_all(void)
{
	while (blocks.next != &blocks)
		sim_free(blocks.next->bytes);
}

/* ---- chance: splitmix64 ---- */

static uint64_t random_state;

static uint64_t
next_random(void)
{
	uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint32_t
sim_random(uint32_t below)
{
	return below == 0 ? 0 : (uint32_t)((next_random() >> 32) % below);
}

bool
sim_chance(uint32_t in_a_million)
{
	return in_a_million > 0 && sim_random(1000000) < in_a_million;
}

/* ---- words ---- */

void
sim_trace(const char *format, ...)
{
	va_list args;

	if (!sim.trace)
		return;
	(void)printf("%12.6f %-5s ", (double)sim.now / 1e6,
	    sim_self == NULL	      ? "world"
		: sim_self->host == 0 ? "one"
		: sim_self->host == 1 ? "two"
				      : "three");
	va_start(args, format);
	(void)vprintf(format, args);
	va_end(args);
	(void)putchar('\n');
}

void
sim_fail(const char *format, ...)
{
	va_list args;

	if (sim.wrong[0] != '\0')
		return;
	va_start(args, format);
	(void)vsnprintf(sim.wrong, sizeof(sim.wrong), format, args);
	va_end(args);
	sim_trace("VIOLATION %s", sim.wrong);
}

void
sim_fault(const char *what)
{
	sim.faults_seen++;
	sim_trace("fault: %s", what);
}

/* ---- events: a heap by time, then by order ---- */

struct event {
	int64_t at;
	uint64_t order;
	struct sim_process *process;
	unsigned life;
	sim_fn *fn;
	void *ctx;
	uint64_t number;
};

static struct event *heap;
static size_t heap_count, heap_room;
static uint64_t event_order;

static bool
is_before(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void
heap_put(struct event e)
{
	size_t i = heap_count++;

	if (heap_count > heap_room) {
		heap_room = heap_room > 0 ? 2 * heap_room : 1024;
		heap = __real_realloc(heap, heap_room * sizeof(*heap));
		if (heap == NULL)
			abort();
	}
	for (; i > 0 && is_before(&e, &heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = e;
}

static struct event
heap_take(void)
{
	struct event top = heap[0], last = heap[--heap_count];
	size_t i = 0;

	for (size_t child; (child = 2 * i + 1) < heap_count; i = child) {
		child += child + 1 < heap_count && is_before(&heap[child + 1], &heap[child]);
		if (!is_before(&heap[child], &last))
			break;
		heap[i] = heap[child];
	}
	heap[i] = last;
	return top;
}

void
sim_after(struct sim_process *p, int64_t us, sim_fn *fn, void *ctx, uint64_t number)
{
	heap_put((struct event){ .at = sim.now + (us > 0 ? us : 0),
	    .order = event_order++,
	    .process = p,
	    .life = p != NULL ? p->life : 0,
	    .fn = fn,
	    .ctx = ctx,
	    .number = number });
}

/* ---- fibers ---- */

static char stacks[SIM_DISPATCHERS][STACK_BYTES] __attribute__((aligned(64)));
#ifdef KAIRAN_SANITIZED
static void *world_fake_stack;
static const void *world_stack;
static size_t world_stack_bytes;
#endif

static ucontext_t world_context;

static void
to_world(void)
{
	struct sim_process *p = sim_self;

	FIBER_START(p->end != SIM_RUNS ? NULL : &p->fake_stack, world_stack, world_stack_bytes);
	(void)swapcontext(&p->context, &world_context);
	FIBER_FINISH(p->fake_stack, NULL, NULL);
}

static void
to_process(struct sim_process *p)
{
	sim_self = p;
	FIBER_START(&world_fake_stack, p->stack, STACK_BYTES);
	(void)swapcontext(&world_context, &p->context);
	FIBER_FINISH(world_fake_stack, NULL, NULL);
	sim_self = NULL;
}

static void
close_files(struct sim_process *p)
{
	for (size_t i = 0; i < sizeof(p->maps) / sizeof(p->maps[0]); i++) {
		if (p->maps[i].at != NULL)
			(void)munmap(p->maps[i].at, p->maps[i].bytes);
		p->maps[i].at = NULL;
	}
	for (size_t i = 0; i < sizeof(p->files) / sizeof(p->files[0]); i++) {
		if (p->files[i] > 0)
			(void)close(p->files[i]);
		p->files[i] = 0;
	}
}

/* The kernel's part of the end of a process. */
static void
bury(struct sim_process *p)
{
	if (!p->alive)
		return;
	p->alive = false;
	p->life++;
	sim.doubt_bound += sim_relay_open(p);
	sim_relay_client_gone(p);
	sim_results_release(p);
	sim_uv_release(p);
	close_files(p);
	for (size_t i = 0; i < p->memory_room; i++)
		__real_free(p->memory[i]);
	sim_free(p->memory);
	p->memory = NULL;
	p->memory_count = p->memory_room = 0;
	p->active = 0;
	p->terminate = p->hangup = NULL;
}

static void
resume(struct sim_process *p)
{
	to_process(p);
	if (p->end != SIM_RUNS)
		bury(p);
}

static _Noreturn void
end_here(enum sim_end end, int status)
{
	sim_self->end = end;
	sim_self->status = status;
	to_world();
	abort(); /* nobody comes back */
}

void
sim_die(const char *where)
{
	sim.deaths++;
	sim_trace("dies at %s", where);
	sim.faults_seen++;
	end_here(SIM_KILLED, 0);
}

void
sim_may_die(const char *where)
{
	if (sim_self != NULL && sim_chance(sim.faults.death))
		sim_die(where);
}

void
sim_block(int64_t us)
{
	struct sim_process *p = sim_self;

	p->waits = true;
	sim_after(p, us, NULL, NULL, 0);
	to_world();
	p->waits = false;
}

void
sim_pause(void)
{
	to_world();
}

static void
first_step(void)
{
	struct sim_process *p = sim_self;
	char *argv[] = { (char *)(uintptr_t) "kairan-dispatcher", (char *)(uintptr_t) "--config",
		p->config, p->adopt ? (char *)(uintptr_t) "--adopt" : NULL, NULL };

	FIBER_FINISH(NULL, &world_stack, &world_stack_bytes);
	optind = 0; /* getopt begins anew */
	end_here(SIM_EXITED, dispatcher_main(p->adopt ? 4 : 3, argv));
}

void
sim_start(struct sim_process *p, bool adopt)
{
	p->alive = true;
	p->end = SIM_RUNS;
	p->status = 0;
	p->adopt = adopt;
	p->waits = false;
	sim_trace("dispatcher %d starts%s", p->host, adopt ? " with --adopt" : "");
	(void)getcontext(&p->context);
	p->context.uc_stack.ss_sp = p->stack;
	p->context.uc_stack.ss_size = STACK_BYTES;
	p->context.uc_link = NULL;
	makecontext(&p->context, first_step, 0);
	resume(p);
}

/* An event of a process: runs inside uv_run(); a call that blocks has it wait. */
static void
deliver(const struct event *e)
{
	struct sim_process *p = e->process;

	if (!p->alive || p->life != e->life)
		return;
	if (e->fn != NULL && p->waits) {
		sim_after(p, SIM_MS, e->fn, e->ctx, e->number);
		return;
	}
	p->event = e->fn;
	p->event_ctx = e->ctx;
	p->event_number = e->number;
	resume(p);
}

void
sim_run_until(int64_t us)
{
	while (heap_count > 0 && heap[0].at <= us && sim.wrong[0] == '\0' && !sim.pg->full) {
		struct event e = heap_take();

		sim.now = e.at > sim.now ? e.at : sim.now;
		sim.events++;
		sim.hash = (sim.hash ^ (uint64_t)sim.now ^ e.order << 20 ^ random_state) *
		    UINT64_C(0x9e3779b97f4a7c15);
		sim.hash ^= sim.hash >> 29;
		if (e.process != NULL)
			deliver(&e);
		else
			e.fn(e.ctx, e.number);
	}
	if (sim.now < us)
		sim.now = us;
}

/* ---- the journal's file and the machine ---- */

static char folder[64];

enum file { JOURNAL, LOCK };

static void
path_of(const struct sim_process *p, int name, enum file file, char path[SIM_PATH_MAX])
{
	(void)snprintf(path, SIM_PATH_MAX, "%s/dispatcher-%c%d.%s", folder, "de"[name], p -> host,
	    file == LOCK ? "lock" : "journal");
}

/* Pages go to the disk when the kernel likes, or by msync(): each one is as it is now, or as it was at
 * the last look. */
static struct disk {
	char bytes[JOURNAL_HEADER_BYTES + JOURNAL_LONG * JOURNAL_SLOT_BYTES];
	size_t n;
} disks[SIM_DISPATCHERS][SIM_NAMES];

static void
write_back(const struct sim_process *p, int name, uint32_t chance)
{
	static char now[sizeof(disks[0][0].bytes)];
	struct disk *disk = &disks[p->host][name];
	char path[SIM_PATH_MAX];
	ssize_t n;
	int fd;

	path_of(p, name, JOURNAL, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, now, sizeof(now)) : 0;
	if (fd >= 0)
		(void)close(fd);
	disk->n = n > 0 ? (size_t)n : 0;
	for (size_t at = 0; at < disk->n; at += 4096)
		if (sim_chance(chance))
			memcpy(
			    disk->bytes + at, now + at, disk->n - at < 4096 ? disk->n - at : 4096);
}

static void
on_write_back(void *ctx, uint64_t number)
{
	struct sim_process *p = ctx;

	(void)number;
	if (!sim.power)
		return;
	for (int name = 0; name < SIM_NAMES; name++)
		write_back(p, name, 500000);
	sim_after(NULL, SIM_SECOND + sim_random(10000) * SIM_MS, on_write_back, p, 0);
}

static void
lose_power(struct sim_process *p)
{
	sim.power_losses++;
	sim.boots[p->host]++;
	p->losses++;
	for (int name = 0; name < SIM_NAMES; name++) {
		char path[SIM_PATH_MAX];
		int fd;

		write_back(p, name, 300000);
		path_of(p, name, JOURNAL, path);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (pwrite(fd, disks[p->host][name].bytes, disks[p->host][name].n, 0) < 0)
			abort();
		(void)close(fd);
	}
}

void
sim_kill(struct sim_process *p, bool power)
{
	sim_fault(power ? "power lost" : "killed");
	sim.deaths += p->alive;
	p->end = SIM_KILLED;
	bury(p);
	if (power)
		lose_power(p);
}

/* ---- names and folders ---- */

void
sim_name(const struct sim_process *p, char name[8])
{
	(void)snprintf(name, 8, "%c%d", "de"[p->name], p -> host);
}

struct sim_process *
sim_process_named(const char *name)
{
	return &sim.process[name[1] - '0'];
}

void
sim_rename(struct sim_process *p)
{
	p->name = (p->name + 1) % SIM_NAMES;
	sim.renamed++;
	sim_trace("dispatcher %d is called %c%d from now on", p->host, "de"[p->name], p -> host);
	sim_write_config(p);
}

void
sim_lose_folder(struct sim_process *p, bool lock_too)
{
	char path[SIM_PATH_MAX];

	sim_fault(lock_too ? "a state folder is lost" : "a journal is lost");
	sim.folders++;
	p->losses++;
	path_of(p, p->name, JOURNAL, path);
	(void)unlink(path);
	path_of(p, p->name, LOCK, path);
	if (lock_too)
		(void)unlink(path);
}

/* ---- begin and end ---- */

static void
put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	(void)close(fd);
}

void
sim_write_config(struct sim_process *p)
{
	char text[2048], name[8];

	sim_name(p, name);
	(void)snprintf(p->config, sizeof(p->config), "%s/%d.conf", folder, p->host);
	(void)snprintf(text, sizeof(text),
	    "[database]\nurl = postgresql://sim\ntimeout_s = 20\n[keys]\nfile = %s/key\n"
	    "[log]\nlevel = %s\n[contain]\nenable = no\n[pace]\nadaptive = %s\n"
	    "[dispatcher]\nname = %s\nstate_dir = %s\nbatch = %u\nretry_ladder = 5s,20s\n"
	    "poll_ms = %u\nrecheck_s = %u\nexpire_after_s = %u\njournal_slots = 1024\n"
	    "[feedback]\ndomain = bounces.example\n"
	    "[relay]\nhost = unix:/sim/relay\ntls = off\nehlo = sim.example\n"
	    "connections = %u\nmessages_per_connection = %u\ndot_timeout_s = 60\n"
	    "pipelining = %s\nnext_behind_dot = %s\nchunking = %s\nidle_s = 5\n",
	    folder, sim.trace ? "info" : "error", sim.adaptive ? "yes" : "no", name, folder,
	    1 + sim_random(16), 500 + sim_random(3000), 1 + sim_random(60),
	    sim_random(4) > 0 ? 86400 : 60 + sim_random(200), 1 + sim_random(4), 1 + sim_random(30),
	    sim_random(4) > 0 ? "yes" : "no", sim_random(2) > 0 ? "yes" : "no",
	    sim_random(2) > 0 ? "yes" : "no");
	put_file(p->config, text);
}

static void
write_key(void)
{
	char path[SIM_PATH_MAX];
	struct err err;

	(void)snprintf(path, sizeof(path), "%s/key", folder);
	put_file(path, "1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n");
	if (token_keys_load(&sim.keys, path, &err) < 0)
		abort();
}

void
sim_world_begin(uint64_t seed, bool trace)
{
	static struct pg pg;

	if (folder[0] == '\0') {
		(void)snprintf(folder, sizeof(folder), "%s/kairan-sim.XXXXXX",
		    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
		if (mkdtemp(folder) == NULL)
			abort();
	}
	memset(&pg, 0, sizeof(pg));
	memset(disks, 0, sizeof(disks));
	sim = (struct sim){ .seed = seed, .trace = trace, .pg = &pg, .now = SIM_SECOND };
	random_state = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
	heap_count = 0;
	event_order = 0;
	for (int i = 0; i < SIM_DISPATCHERS; i++) {
		sim.process[i].host = i;
		sim.process[i].stack = stacks[i];
		sim_after(NULL, SIM_SECOND, on_write_back, &sim.process[i], 0);
	}
	write_key();
	sim_pg_begin();
	sim_redis_begin();
	sim_relay_begin();
}

void
sim_world_end(void)
{
	char path[SIM_PATH_MAX];

	for (int i = 0; i < SIM_DISPATCHERS; i++) {
		bury(&sim.process[i]);
		(void)unlink(sim.process[i].config);
		for (int name = 0; name < SIM_NAMES; name++) {
			path_of(&sim.process[i], name, JOURNAL, path);
			(void)unlink(path);
			path_of(&sim.process[i], name, LOCK, path);
			(void)unlink(path);
		}
	}
	(void)snprintf(path, sizeof(path), "%s/key", folder);
	(void)unlink(path);
	(void)rmdir(folder);
	folder[0] = '\0';
	free_all();
}

/* ---- what is wrapped: memory ---- */

static size_t
place_of(const struct sim_process *p, const void *at)
{
	size_t i = ((uintptr_t)at >> 4) * 2654435761U % p->memory_room;

	while (p->memory[i] != NULL && p->memory[i] != at)
		i = (i + 1) % p->memory_room;
	return i;
}

static void
remember(void *at)
{
	struct sim_process *p = sim_self;

	if (p == NULL || at == NULL)
		return;
	if (2 * (p->memory_count + 1) > p->memory_room) {
		void **old = p->memory;
		size_t room = p->memory_room;

		p->memory_room = room > 0 ? 2 * room : 1024;
		p->memory = sim_alloc(p->memory_room * sizeof(void *));
		for (size_t i = 0; i < room; i++)
			if (old[i] != NULL)
				p->memory[place_of(p, old[i])] = old[i];
		sim_free(old);
	}
	p->memory[place_of(p, at)] = at;
	p->memory_count++;
}

static void
forget(const void *at)
{
	struct sim_process *p = sim_self;
	size_t hole, i;

	if (p == NULL || at == NULL || p->memory_room == 0)
		return;
	hole = place_of(p, at);
	if (p->memory[hole] == NULL)
		return; /* the library's, not one of ours */
	p->memory[hole] = NULL;
	p->memory_count--;
	for (i = (hole + 1) % p->memory_room; p->memory[i] != NULL; i = (i + 1) % p->memory_room) {
		void *moved = p->memory[i];

		p->memory[i] = NULL;
		p->memory[place_of(p, moved)] = moved;
	}
}

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);

char *
__wrap_strdup(const char *text)
{
	char *at = __real_strdup(text);

	remember(at);
	return at;
}

void *
__wrap_malloc(size_t n)
{
	void *at = __real_malloc(n);

	remember(at);
	return at;
}

void *
__wrap_calloc(size_t n, size_t m)
{
	void *at = __real_calloc(n, m);

	remember(at);
	return at;
}

void *
__wrap_realloc(void *p, size_t n)
{
	void *at;

	forget(p);
	at = __real_realloc(p, n);
	remember(at);
	return at;
}

void
__wrap_free(void *p)
{
	forget(p);
	__real_free(p);
}

/* ---- files ---- */

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __real_close(int fd);
int __wrap_close(int fd);
void *__real_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t n);
int __wrap_munmap(void *at, size_t n);
int __wrap_msync(void *at, size_t n, int flags);

static void
keep_file(int fd, int before)
{
	for (size_t i = 0; sim_self != NULL && i < sizeof(sim_self->files) / sizeof(int); i++) {
		if (sim_self->files[i] == before) {
			sim_self->files[i] = fd;
			return;
		}
	}
}

/* The boot id: one a machine and boot. */
static int
open_boot_id(void)
{
	char text[40];
	int ends[2];

	(void)snprintf(text, sizeof(text), "%08x-0000-4000-8000-%012x", sim_self->host,
	    sim.boots[sim_self->host]);
	if (pipe2(ends, O_CLOEXEC) < 0 || write(ends[1], text, 36) != 36)
		abort();
	(void)__real_close(ends[1]);
	return ends[0];
}

int
__wrap_open64(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;
	int fd;

	va_start(args, flags);
	mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
	va_end(args);
	if (sim_self != NULL && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0)
		fd = open_boot_id();
	else
		fd = __real_open64(path, flags, mode);
	if (fd > 0)
		keep_file(fd, 0);
	return fd;
}

int
__wrap_close(int fd)
{
	if (fd > 0)
		keep_file(0, fd);
	return __real_close(fd);
}

void *
__wrap_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
	void *map = __real_mmap64(at, n, prot, flags, fd, offset);

	for (size_t i = 0; sim_self != NULL && map != MAP_FAILED && i < 4; i++) {
		if (sim_self->maps[i].at == NULL) {
			sim_self->maps[i].at = map;
			sim_self->maps[i].bytes = n;
			break;
		}
	}
	return map;
}

int
__wrap_munmap(void *at, size_t n)
{
	for (size_t i = 0; sim_self != NULL && i < 4; i++)
		if (sim_self->maps[i].at == at)
			sim_self->maps[i].at = NULL;
	return __real_munmap(at, n);
}

/* Of the journal, the one mapping that is written to; n is up to the end of a page. */
int
__wrap_msync(void *at, size_t n, int flags)
{
	struct disk *disk = &disks[sim_self->host][sim_self->name];

	if ((flags & MS_SYNC) == 0)
		return 0; /* as Linux does: nothing */
	if (sim_chance(sim.faults.refused)) {
		errno = EIO;
		return -1;
	}
	sim_may_die("before msync()");
	for (size_t i = 0; i < 4; i++) {
		uintptr_t from = (uintptr_t)at - (uintptr_t)sim_self->maps[i].at;

		if (sim_self->maps[i].at != NULL && from < sim_self->maps[i].bytes)
			memcpy(disk->bytes + from, at, n);
	}
	sim_may_die("after msync()");
	return 0;
}

struct journal *__real_journal_open(
    const char *path, const char *lock_id, uint32_t slots, struct err *err);
struct journal *__wrap_journal_open(
    const char *path, const char *lock_id, uint32_t slots, struct err *err);

struct journal *
__wrap_journal_open(const char *path, const char *lock_id, uint32_t slots, struct err *err)
{
	(void)slots;
	return __real_journal_open(path, lock_id,
	    sim.long_journal ? JOURNAL_LONG : (uint32_t)JOURNAL_SLOTS >> sim.seed % 4, err);
}

/* ---- clock, chance, the end ---- */

time_t __wrap_time(time_t *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t);
unsigned __wrap_sleep(unsigned s);
uint32_t __wrap_arc4random(void);
uint32_t __wrap_arc4random_uniform(uint32_t below);
int __wrap_RAND_bytes(unsigned char *bytes, int n);
_Noreturn void __real_exit(int status);
_Noreturn void __wrap_exit(int status);
_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);
int __wrap_sigaction(int number, const struct sigaction *action, struct sigaction *old);
int __wrap_contain_begin(const struct config *config, int program, struct err *err);
void __wrap_contain_process(void);
void __wrap_crash_point(const char *name);
CURLcode __wrap_curl_global_init(long flags);
void __wrap_curl_global_cleanup(void);

CURLcode
__wrap_curl_global_init(long flags)
{
	(void)flags;
	return CURLE_OK;
}

void
__wrap_curl_global_cleanup(void)
{
}

static int64_t
wall_us(void)
{
	return PG_BEGINNING * SIM_SECOND + sim.now + (sim_self != NULL ? sim_self->clock_skew : 0);
}

time_t
__wrap_time(time_t *t)
{
	time_t now = (time_t)(wall_us() / SIM_SECOND);

	if (t != NULL)
		*t = now;
	return now;
}

int
__wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
	int64_t us =
	    clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE ? wall_us() : sim.now;

	*t = (struct timespec){ .tv_sec = us / SIM_SECOND, .tv_nsec = us % SIM_SECOND * 1000 };
	return 0;
}

unsigned
__wrap_sleep(unsigned s)
{
	sim_block(s * SIM_SECOND);
	return 0;
}

uint32_t
__wrap_arc4random(void)
{
	return (uint32_t)(next_random() >> 32);
}

uint32_t
__wrap_arc4random_uniform(uint32_t below)
{
	return sim_random(below);
}

int
__wrap_RAND_bytes(unsigned char *bytes, int n)
{
	for (int i = 0; i < n; i++)
		bytes[i] = (unsigned char)sim_random(256);
	return 1;
}

void
__wrap_exit(int status)
{
	if (sim_self != NULL)
		end_here(SIM_EXITED, status);
	__real_exit(status);
}

void
__wrap__exit(int status)
{
	if (sim_self != NULL)
		end_here(SIM_EXITED, status);
	__real__exit(status);
}

int
__wrap_sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
	(void)number;
	(void)action;
	(void)old;
	return 0;
}

int
__wrap_contain_begin(const struct config *config, int program, struct err *err)
{
	(void)config;
	(void)program;
	(void)err;
	return 0;
}

void
__wrap_contain_process(void)
{
}

void
__wrap_crash_point(const char *name)
{
	if (sim_self == NULL || !sim_chance(sim.faults.death))
		return;
	sim.deaths_at_points++;
	sim_die(name);
}
