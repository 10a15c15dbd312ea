/* SPDX-License-Identifier: Apache-2.0 */
/* curl_transfer: what transfers of libcurl that block ask for alike. */
#ifndef KAIRAN_CURL_TRANSFER_H
#define KAIRAN_CURL_TRANSFER_H

#include <curl/curl.h>
#include <stdatomic.h>

#include "slice.h"

/* The transfer ends (CURLE_ABORTED_BY_CALLBACK) within a second when *stop becomes true. stop
 * outlives the transfer. */
void curl_transfer_stops(CURL *easy, const atomic_bool *stop);

/* Uploads these bytes, of which *rest keeps what has not left. rest outlives the transfer. */
void curl_transfer_gives(CURL *easy, struct slice *rest);

#endif
