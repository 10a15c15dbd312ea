/* SPDX-License-Identifier: Apache-2.0 */
/*
 * curlloop: libcurl's multi interface on a libuv loop. Add an easy handle with
 * curl_multi_add_handle(curlloop_multi(l), easy); when its transfer has ended, `done` is called with
 * CURLOPT_PRIVATE of it. Whoever added it takes it off again: at once, or, with
 * CURLOPT_CONNECT_ONLY, when its connection is to be closed.
 */
#ifndef KAIRAN_CURLLOOP_H
#define KAIRAN_CURLLOOP_H

#include <curl/curl.h>
#include <uv.h>

struct curlloop;

/* May take handles off and add them. */
typedef void (*curlloop_done)(void *ctx, void *priv, CURLcode code);

/* NULL without memory. */
struct curlloop *curlloop_new(uv_loop_t *loop, curlloop_done done, void *ctx);

CURLM *curlloop_multi(struct curlloop *l);

/* Takes its own handles off the loop; call it when no transfer is under way. */
void curlloop_stop(struct curlloop *l);

/* After curlloop_stop and the end of the loop. Closes connections. */
void curlloop_free(struct curlloop *l);

#endif
