# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# make_ca: certificates of an authority of our own, for tests; sourced.
#   ca_make DIR                       DIR/ca.pem, DIR/ca.key
#   ca_issue DIR NAME SAN [DAYS]      DIR/NAME.pem, DIR/NAME.key signed by it; SAN such as
#                                     DNS:relay.example or IP:127.0.0.1; DAYS -1: expired
#   ca_self DIR NAME SAN              the same, signed by itself

ca_make()
{
	mkdir -p "$1"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj '/CN=Test CA' \
		-addext 'basicConstraints=critical,CA:TRUE' -keyout "$1/ca.key" -out "$1/ca.pem" 2>>"$1/openssl.log"
}

ca_issue()
{
	local dir=$1 name=$2 san=$3 days=${4:-2} from=

	openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$name" \
		-keyout "$dir/$name.key" -out "$dir/$name.csr" 2>>"$dir/openssl.log" || return 1
	printf 'subjectAltName=%s\n' "$san" >"$dir/$name.ext"
	if [ "$days" -lt 0 ]; then
		# a validity that is over: openssl ca takes dates, openssl x509 of Debian 12 does not
		: >"$dir/index"
		echo 01 >"$dir/serial"
		from=$(date -u -d '-10 days' +%y%m%d%H%M%SZ)
		openssl ca -batch -config <(printf '%s\n' '[ca]' 'default_ca=d' '[d]' "database=$dir/index" \
			"serial=$dir/serial" "new_certs_dir=$dir" 'default_md=sha256' 'policy=p' 'unique_subject=no' \
			'[p]' 'commonName=supplied') -cert "$dir/ca.pem" -keyfile "$dir/ca.key" -startdate "$from" \
			-enddate "$(date -u -d "$days days" +%y%m%d%H%M%SZ)" -extfile "$dir/$name.ext" \
			-in "$dir/$name.csr" -out "$dir/$name.pem" -notext 2>>"$dir/openssl.log"
	else
		openssl x509 -req -in "$dir/$name.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial \
			-days "$days" -extfile "$dir/$name.ext" -out "$dir/$name.pem" 2>>"$dir/openssl.log"
	fi
	chmod 600 "$dir/$name.key"
}

ca_self()
{
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$2" \
		-addext "subjectAltName=$3" -keyout "$1/$2.key" -out "$1/$2.pem" 2>>"$1/openssl.log"
	chmod 600 "$1/$2.key"
}
