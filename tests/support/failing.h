/* SPDX-License-Identifier: Apache-2.0 */
/*
 * failing: the n-th call to the allocator, the kernel or a library fails, once. For a unit test
 * alone that the Makefile links with FAILING_WRAPPED; header only. Calls that libraries make among
 * themselves are theirs.
 *
 *	for (unsigned n = 1; failing_from(n); n++)      until a run had fewer calls than n
 *		(run, between failing_begin() and failing_end(); look at what came of it)
 */
#ifndef KAIRAN_FAILING_H
#define KAIRAN_FAILING_H

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509_vfy.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <uninorm.h>

static struct {
	unsigned at, seen; /* this call fails; so many have been made */
	bool on;
	const char *name; /* which one failed */
	/* and what a call may say that is no failure */
	unsigned long fs_type;		  /* of every file system; 0: as it is */
	void (*bend_stat)(struct stat *); /* stat(2) alone; NULL: as it is */
} failing;

/* Sets the call that shall fail; false when the run before had fewer calls. */
static inline bool
failing_from(unsigned n)
{
	bool more = n == 1 || failing.name != NULL;

	failing.at = n;
	failing.name = NULL;
	return more;
}

static inline void
failing_begin(void)
{
	failing.seen = 0;
	failing.on = true;
}

static inline void
failing_end(void)
{
	failing.on = false;
}

/* For a message: the call that failed, "nothing". */
static inline const char *
failing_name(void)
{
	return failing.name != NULL ? failing.name : "nothing";
}

static inline bool
failing_now(const char *name, int number)
{
	if (!failing.on || ++failing.seen != failing.at)
		return false;
	failing.name = name;
	errno = number;
	return true;
}

#define FAILING(type, name, params, args, number, failure)                                         \
	type __real_##name params;                                                                 \
	type __wrap_##name params;                                                                 \
	type __wrap_##name params                                                                  \
	{                                                                                          \
		return failing_now(#name, number) ? failure : __real_##name args;                  \
	}

FAILING(void *, malloc, (size_t n), (n), ENOMEM, NULL)
FAILING(void *, calloc, (size_t n, size_t size), (n, size), ENOMEM, NULL)
FAILING(void *, realloc, (void *p, size_t n), (p, n), ENOMEM, NULL)
FAILING(char *, strdup, (const char *text), (text), ENOMEM, NULL)

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int
__wrap_open64(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode = 0;

	va_start(args, flags);
	if ((flags & O_CREAT) != 0)
		mode = va_arg(args, mode_t);
	va_end(args);
	return failing_now("open", EMFILE) ? -1 : __real_open64(path, flags, mode);
}

FAILING(ssize_t, read, (int fd, void *bytes, size_t n), (fd, bytes, n), EIO, -1)
FAILING(int, fstat64, (int fd, struct stat *st), (fd, st), EIO, -1)

int __real_stat64(const char *path, struct stat *st);
int __wrap_stat64(const char *path, struct stat *st);
int
__wrap_stat64(const char *path, struct stat *st)
{
	int result = failing_now("stat", EACCES) ? -1 : __real_stat64(path, st);

	if (result == 0 && failing.bend_stat != NULL)
		failing.bend_stat(st);
	return result;
}

int __real_fstatfs64(int fd, struct statfs *fs);
int __wrap_fstatfs64(int fd, struct statfs *fs);
int
__wrap_fstatfs64(int fd, struct statfs *fs)
{
	int result = failing_now("fstatfs", EIO) ? -1 : __real_fstatfs64(fd, fs);

	if (result == 0 && failing.fs_type != 0)
		fs->f_type = (__fsword_t)failing.fs_type;
	return result;
}

FAILING(int, flock, (int fd, int how), (fd, how), EWOULDBLOCK, -1)
FAILING(int, rename, (const char *from, const char *to), (from, to), EACCES, -1)
FAILING(int, posix_fallocate64, (int fd, off_t at, off_t n), (fd, at, n), ENOSPC, ENOSPC)
FAILING(void *, mmap64, (void *at, size_t n, int prot, int flags, int fd, off_t from),
    (at, n, prot, flags, fd, from), ENOMEM, MAP_FAILED)
FAILING(FILE *, fopen64, (const char *path, const char *mode), (path, mode), EMFILE, NULL)

FAILING(int, RAND_bytes, (unsigned char *bytes, int n), (bytes, n), 0, 0)
FAILING(EVP_MD *, EVP_MD_fetch, (OSSL_LIB_CTX * c, const char *name, const char *how),
    (c, name, how), 0, NULL)
FAILING(EVP_MD_CTX *, EVP_MD_CTX_new, (void), (), 0, NULL)
FAILING(EVP_PKEY_CTX *, EVP_PKEY_CTX_new, (EVP_PKEY * key, ENGINE *engine), (key, engine), 0, NULL)
FAILING(int, EVP_PKEY_verify_init, (EVP_PKEY_CTX * c), (c), 0, 0)
FAILING(int, EVP_PKEY_CTX_set_rsa_padding, (EVP_PKEY_CTX * c, int how), (c, how), 0, 0)
FAILING(int, EVP_PKEY_CTX_set_signature_md, (EVP_PKEY_CTX * c, const EVP_MD *md), (c, md), 0, 0)
FAILING(int, EVP_DigestInit_ex2, (EVP_MD_CTX * c, const EVP_MD *md, const OSSL_PARAM *params),
    (c, md, params), 0, 0)
FAILING(int, EVP_DigestUpdate, (EVP_MD_CTX * c, const void *bytes, size_t n), (c, bytes, n), 0, 0)
FAILING(
    int, EVP_DigestFinal_ex, (EVP_MD_CTX * c, unsigned char *hash, unsigned *n), (c, hash, n), 0, 0)
FAILING(int, EVP_PKEY_verify,
    (EVP_PKEY_CTX * c, const unsigned char *sig, size_t n, const unsigned char *hash, size_t len),
    (c, sig, n, hash, len), 0, -1)
FAILING(X509_STORE *, X509_STORE_new, (void), (), 0, NULL)
FAILING(int, X509_STORE_load_file, (X509_STORE * store, const char *path), (store, path), 0, 0)
FAILING(int, X509_STORE_set_default_paths, (X509_STORE * store), (store), 0, 0)
FAILING(int, X509_STORE_set_flags, (X509_STORE * store, unsigned long flags), (store, flags), 0, 0)
FAILING(X509_STORE_CTX *, X509_STORE_CTX_new, (void), (), 0, NULL)
FAILING(int, X509_STORE_CTX_init,
    (X509_STORE_CTX * c, X509_STORE *store, X509 *cert, STACK_OF(X509) * others),
    (c, store, cert, others), 0, 0)
FAILING(OPENSSL_STACK *, OPENSSL_sk_new_null, (void), (), 0, NULL)
FAILING(int, OPENSSL_sk_push, (OPENSSL_STACK * stack, const void *item), (stack, item), 0, 0)
FAILING(BIO *, BIO_new_mem_buf, (const void *bytes, int n), (bytes, n), 0, NULL)
FAILING(uint8_t *, u8_normalize,
    (uninorm_t form, const uint8_t *text, size_t n, uint8_t *room, size_t *length),
    (form, text, n, room, length), ENOMEM, NULL)

#endif
