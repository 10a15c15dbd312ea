/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the certificate of SNS is fetched (A9): the module's own libcurl against a TLS server on
 * loopback. The Makefile hands curl_easy_setopt to the test, which leaves all options as they are
 * but for: the name resolves to an address of the test's choice; the server's authority is trusted;
 * a socket that the module has opened for a public address is led to loopback; the time limit,
 * checked here, is shorter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sns_cert.h"
#include "sns_sample.h"

#define HOST "sns.eu-central-1.amazonaws.com"
#define PUBLIC "52.94.5.1"
#define FLOOD_MAX ((size_t)64 << 20)

/* What the server does with a request. */
enum answer {
	ANSWER_PEM,
	ANSWER_REDIRECT,
	ANSWER_ANNOUNCED,
	ANSWER_FLOOD,
	ANSWER_DRIP,
	ANSWER_404
};

static struct {
	int fd;
	in_port_t port; /* network order */
	pthread_t thread;
	atomic_int answer, wrong_name;
	atomic_int connections, requests;
	atomic_size_t written;
} server;

static EVP_PKEY *key;
static X509 *cert, *right, *wrong; /* signs documents; of the server */
static char ca_path[] = "/tmp/kairan-fetch-ca.XXXXXX", tls_path[] = "/tmp/kairan-fetch-tls.XXXXXX";

/* ---- the server ---- */

static bool
say(SSL *ssl, const char *bytes, size_t n)
{
	int sent = SSL_write(ssl, bytes, (int)n);

	if (sent > 0)
		atomic_fetch_add(&server.written, (size_t)sent);
	return sent > 0;
}

static void
say_pem(SSL *ssl)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char head[100], *pem;
	long n;

	(void)PEM_write_bio_X509(bio, cert);
	n = BIO_get_mem_data(bio, &pem);
	(void)snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %ld\r\n\r\n", n);
	(void)(say(ssl, head, strlen(head)) && say(ssl, pem, (size_t)n));
	(void)BIO_free(bio);
}

static void
say_answer(SSL *ssl)
{
	static const char redirect[] = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n"
				       "Location: https://" HOST "/elsewhere.pem\r\n\r\n",
			  announced[] = "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n",
			  endless[] = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
			  missing[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
	static const char block[16384];
	const struct timespec pause = { .tv_nsec = 20000000 };

	switch ((enum answer)atomic_load(&server.answer)) {
	case ANSWER_PEM:
		say_pem(ssl);
		break;
	case ANSWER_REDIRECT:
		(void)say(ssl, redirect, sizeof(redirect) - 1);
		break;
	case ANSWER_404:
		(void)say(ssl, missing, sizeof(missing) - 1);
		break;
	case ANSWER_ANNOUNCED:
	case ANSWER_FLOOD:
		if (atomic_load(&server.answer) == ANSWER_ANNOUNCED)
			(void)say(ssl, announced, sizeof(announced) - 1);
		else
			(void)say(ssl, endless, sizeof(endless) - 1);
		while (atomic_load(&server.written) < FLOOD_MAX && say(ssl, block, sizeof(block)))
			continue;
		break;
	case ANSWER_DRIP:
		(void)say(ssl, endless, sizeof(endless) - 1);
		while (say(ssl, "x", 1))
			(void)nanosleep(&pause, NULL);
		break;
	}
}

static void
serve(int fd)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	SSL *ssl;
	char request[4096] = "";
	size_t have = 0;
	int n;

	(void)SSL_CTX_use_certificate(context, atomic_load(&server.wrong_name) ? wrong : right);
	(void)SSL_CTX_use_PrivateKey(context, key);
	ssl = SSL_new(context);
	(void)SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) == 1) {
		while (strstr(request, "\r\n\r\n") == NULL && have + 1 < sizeof(request) &&
		    (n = SSL_read(ssl, request + have, (int)(sizeof(request) - 1 - have))) > 0)
			have += (size_t)n;
		if (strstr(request, "\r\n\r\n") != NULL) {
			atomic_fetch_add(&server.requests, 1);
			say_answer(ssl);
			(void)SSL_shutdown(ssl);
		}
	}
	SSL_free(ssl);
	SSL_CTX_free(context);
	close(fd);
}

static void *
run_server(void *unused)
{
	int fd;

	while ((fd = accept(server.fd, NULL, NULL)) >= 0) {
		atomic_fetch_add(&server.connections, 1);
		serve(fd);
	}
	return unused;
}

/* ---- libcurl's options on their way ---- */

static struct {
	const char *address; /* of the name */
	curl_opensocket_callback opens;
	struct curl_slist *resolve;
	unsigned refused; /* sockets that the module did not open */
	bool no_memory;
} way;

CURL *__real_curl_easy_init(void);
CURL *__wrap_curl_easy_init(void);

CURL *
__wrap_curl_easy_init(void)
{
	return way.no_memory ? NULL : __real_curl_easy_init();
}

static curl_socket_t
lead_to_loopback(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
	const struct sockaddr_in there = { .sin_family = AF_INET,
		.sin_port = server.port,
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	curl_socket_t fd = way.opens(context, purpose, address);

	if (fd == CURL_SOCKET_BAD) {
		way.refused++;
		return fd;
	}
	memcpy(&address->addr, &there, sizeof(there));
	address->addrlen = sizeof(there);
	return fd;
}

CURLcode __real_curl_easy_setopt(CURL *curl, CURLoption option, ...);
CURLcode __wrap_curl_easy_setopt(CURL *curl, CURLoption option, ...);

static CURLcode
set_pointer(CURL *curl, CURLoption option, void *pointer)
{
	char entry[200];

	if (option == CURLOPT_OPENSOCKETFUNCTION) {
		memcpy(&way.opens, &pointer, sizeof(way.opens));
		return __real_curl_easy_setopt(curl, option, lead_to_loopback);
	}
	if (option == CURLOPT_URL) {
		(void)snprintf(entry, sizeof(entry), HOST ":443:%s", way.address);
		curl_slist_free_all(way.resolve);
		way.resolve = curl_slist_append(NULL, entry);
		(void)__real_curl_easy_setopt(curl, CURLOPT_RESOLVE, way.resolve);
		(void)__real_curl_easy_setopt(curl, CURLOPT_CAINFO, tls_path);
	}
	return __real_curl_easy_setopt(curl, option, pointer);
}

CURLcode
__wrap_curl_easy_setopt(CURL *curl, CURLoption option, ...)
{
	CURLcode code;
	va_list args;

	va_start(args, option);
	if (option < CURLOPTTYPE_OBJECTPOINT) {
		long number = va_arg(args, long);

		if (option == CURLOPT_TIMEOUT) {
			assert_int_equal(number, SNS_CERT_TIMEOUT_S);
			option = CURLOPT_TIMEOUT_MS;
			number = atomic_load(&server.answer) == ANSWER_DRIP ? 500 : 60000;
		}
		code = __real_curl_easy_setopt(curl, option, number);
	} else {
		code = set_pointer(curl, option, va_arg(args, void *));
	}
	va_end(args);
	return code;
}

/* ---- tests ---- */

static enum sns_cert_result
fetch_from(const char *url, const char *address, enum answer answer, struct err *err)
{
	const struct sns_cert_config config = { .ca_file = ca_path };
	struct sns_cert_cache *cache = sns_cert_cache_new(&config, err);
	enum sns_cert_result result;
	struct sns_key *signs;

	assert_non_null(cache);
	way.address = address;
	way.refused = 0;
	atomic_store(&server.answer, (int)answer);
	atomic_store(&server.connections, 0);
	atomic_store(&server.requests, 0);
	atomic_store(&server.written, 0);
	err->msg[0] = '\0';
	result = sns_cert_get(cache, slice_str(url), (int64_t)time(NULL), &signs, err);
	assert_true((signs != NULL) == (result == SNS_CERT_OK));
	assert_true((err->msg[0] == '\0') == (result == SNS_CERT_OK));
	sns_cert_cache_free(cache);
	return result;
}

static enum sns_cert_result
fetch(enum answer answer, struct err *err)
{
	return fetch_from(CERT_URL, PUBLIC, answer, err);
}

/* By TLS from the pinned name, past any proxy of the environment. */
static void
A9_fetched_from_sns_itself(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(setenv("https_proxy", "http://127.0.0.1:9", 1), 0);
	assert_int_equal(setenv("ALL_PROXY", "http://127.0.0.1:9", 1), 0);
	assert_int_equal(fetch(ANSWER_PEM, &err), SNS_CERT_OK);
	assert_int_equal(atomic_load(&server.requests), 1);
	atomic_store(&server.wrong_name, 1);
	assert_int_equal(fetch(ANSWER_PEM, &err), SNS_CERT_TEMPORARY);
	assert_int_equal(atomic_load(&server.requests), 0);
	atomic_store(&server.wrong_name, 0);
	assert_int_equal(fetch(ANSWER_404, &err), SNS_CERT_TEMPORARY);
	assert_non_null(strstr(err.msg, "404"));
}

static void
A9_no_redirect_is_followed(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(fetch(ANSWER_REDIRECT, &err), SNS_CERT_TEMPORARY);
	assert_non_null(strstr(err.msg, "302"));
	assert_int_equal(atomic_load(&server.connections), 1);
	assert_int_equal(atomic_load(&server.requests), 1);
}

/* 10 GB announced, and as much as anybody takes: cut off at SNS_CERT_SIZE_MAX, but for what lay in the
 * buffers of two kernels. */
static void
A9_a_flood_is_cut_off(void **state)
{
	static const enum answer floods[] = { ANSWER_ANNOUNCED, ANSWER_FLOOD };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct err err;

		assert_int_equal(fetch(floods[i], &err), SNS_CERT_TEMPORARY);
		assert_int_equal(atomic_load(&server.requests), 1);
		assert_in_range(atomic_load(&server.written), 1, FLOOD_MAX / 2);
	}
}

static void
A9_a_drip_is_cut_off(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(fetch(ANSWER_DRIP, &err), SNS_CERT_TEMPORARY);
	assert_int_equal(atomic_load(&server.requests), 1);
}

/* Where the name points is looked at when the connection is made, so that rebinding does not help. */
static void
A9_no_private_address_is_connected_to(void **state)
{
	static const char *const addresses[] = { "10.0.0.1", "127.0.0.1", "169.254.169.254",
		"192.168.1.1", "0.0.0.0", "[::1]", "[fd00::1]", "[::ffff:10.0.0.1]" };
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		assert_int_equal(
		    fetch_from(CERT_URL, addresses[i], ANSWER_PEM, &err), SNS_CERT_TEMPORARY);
		assert_int_equal(atomic_load(&server.connections), 0);
		assert_true(way.refused > 0);
	}
}

/* A socket for anything but a connection to a server is none; without memory nothing is asked. */
static void
A9_nothing_else_is_opened(void **state)
{
	struct curl_sockaddr address = {
		.family = AF_INET, .socktype = SOCK_STREAM, .addrlen = sizeof(struct sockaddr_in)
	};
	struct err err;

	(void)state;
	assert_int_equal(fetch(ANSWER_PEM, &err), SNS_CERT_OK);
	((struct sockaddr_in *)(void *)&address.addr)->sin_family = AF_INET;
	((struct sockaddr_in *)(void *)&address.addr)->sin_addr.s_addr = htonl(0x08080808);
	assert_int_equal(way.opens(NULL, CURLSOCKTYPE_ACCEPT, &address), CURL_SOCKET_BAD);
	way.no_memory = true;
	assert_int_equal(fetch(ANSWER_PEM, &err), SNS_CERT_TEMPORARY);
	assert_int_equal(atomic_load(&server.connections), 0);
	way.no_memory = false;
}

/* Addresses of other kinds are refused before; here they find nobody either. */
static void
A9_nothing_but_https(void **state)
{
	static const char *const urls[] = { "http://" HOST "/a.pem", "file:///etc/hostname",
		"ftp://" HOST "/a.pem" };
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		assert_int_equal(fetch_from(urls[i], PUBLIC, ANSWER_PEM, &err), SNS_CERT_TEMPORARY);
		assert_int_equal(atomic_load(&server.connections), 0);
	}
}

/* ---- */

static int
write_cert(char *path, X509 *x)
{
	int fd = mkstemp(path);
	FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;

	return file != NULL && PEM_write_X509(file, x) == 1 ? fclose(file) : -1;
}

static int
begin(void **state)
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t n = sizeof(here);

	(void)state;
	key = EVP_RSA_gen(2048);
	cert = make_cert(key, "sns.amazonaws.com", -60, 3600, NULL, NULL);
	right = make_cert(key, HOST, -60, 3600, NULL, NULL);
	wrong = make_cert(key, "sns.evil.example", -60, 3600, right, key);
	if (write_cert(ca_path, cert) != 0 || write_cert(tls_path, right) != 0)
		return -1;
	server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server.fd < 0 || bind(server.fd, (struct sockaddr *)&here, sizeof(here)) != 0 ||
	    listen(server.fd, 8) != 0 || getsockname(server.fd, (struct sockaddr *)&here, &n) != 0)
		return -1;
	server.port = here.sin_port;
	return pthread_create(&server.thread, NULL, run_server, NULL);
}

static int
end(void **state)
{
	(void)state;
	(void)shutdown(server.fd, SHUT_RDWR);
	(void)pthread_join(server.thread, NULL);
	close(server.fd);
	curl_slist_free_all(way.resolve);
	X509_free(cert);
	X509_free(right);
	X509_free(wrong);
	EVP_PKEY_free(key);
	return unlink(ca_path) | unlink(tls_path);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(A9_fetched_from_sns_itself),
		cmocka_unit_test(A9_no_redirect_is_followed),
		cmocka_unit_test(A9_a_flood_is_cut_off),
		cmocka_unit_test(A9_a_drip_is_cut_off),
		cmocka_unit_test(A9_no_private_address_is_connected_to),
		cmocka_unit_test(A9_nothing_else_is_opened),
		cmocka_unit_test(A9_nothing_but_https),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	(void)curl_global_init(CURL_GLOBAL_ALL);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, begin, end);
}
