#!/usr/bin/env bash
# Runs a command with a temporary MariaDB Galera cluster of three nodes on the loopback interface:
#
#     .ci/with_galera.sh -- cargo test --test it -- galera
#
# On Debian it needs mariadb-server-core, mariadb-client-core, galera-4 and python3. TRIPGATE_TEST_GALERA has the URL of
# each node and the ids of their processes, separated by spaces: three URLs, three ids. TRIPGATE_TEST_DATABASE_NODES has
# the three URLs: the servers of a test use the nodes in turn. The user in the URLs may create databases. The nodes
# store their data in a temporary folder, which is removed when the command ends. The exit status is the command's.
# Durability is off for speed.
set -euo pipefail

if [ "${1:-}" != -- ] || [ $# -lt 2 ]; then
    echo "usage: .ci/with_galera.sh -- COMMAND [ARGUMENT ...]" >&2
    exit 64
fi
shift

provider=
for path in /usr/lib/galera/libgalera_smm.so /usr/lib64/galera-4/libgalera_smm.so; do
    [ -e "$path" ] && provider=$path
done
if [ -z "$provider" ]; then
    echo "with_galera: the Galera library is not installed; on Debian: apt-get install galera-4" >&2
    exit 69
fi
export PATH=$PATH:/usr/sbin

# For state transfers, Galera uses the port after its group communication port.
ports=$(python3 - <<'PYTHON'
import socket
held, found = [], []
while len(found) < 9:
    pair = [socket.socket(), socket.socket()]
    try:
        pair[0].bind(("127.0.0.1", 0))
        port = pair[0].getsockname()[1]
        pair[1].bind(("127.0.0.1", port + 1))
    except OSError:
        continue
    held += pair
    found.append(port)
print(*found)
PYTHON
)
read -ra ports <<<"$ports"
folder=$(mktemp -d "${TMPDIR:-/tmp}/tripgate-galera.XXXXXX")
password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
servers=()

stop() {
    local status=$?
    trap - EXIT
    for server in "${servers[@]}"; do
        kill -KILL "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    done
    if [ -z "${started:-}" ]; then
        echo "with_galera: the cluster failed to start; the end of its logs:" >&2
        tail -n 40 "$folder"/*/log >&2 || true
    fi
    rm -rf "$folder"
    exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Runs a program as an unprivileged user, because MariaDB does not run as root. `exec` keeps the process id,
# so the caller knows the process id of the server.
unprivileged() {
    if [ "$(id -u)" -eq 0 ]; then
        exec setpriv --reuid=nobody --regid=nogroup --clear-groups -- "$@"
    else
        exec "$@"
    fi
}

mkdir "$folder/0"
# All nodes begin with a copy of the same state. A node that joins therefore needs no data, but only the
# position of the group in the sequence of transactions.
mkdir "$folder/bin"
cat >"$folder/bin/wsrep_sst_position" <<'SCRIPT'
#!/usr/bin/env bash
folder=$(dirname "$(dirname "$0")")
while [ $# -gt 0 ]; do
    case $1 in
        --role) role=$2; shift ;;
        --gtid) gtid=$2; shift ;;
    esac
    shift
done
if [ "$role" = donor ]; then
    echo continue
    echo "$gtid" >"$folder/bin/position.new"
    mv "$folder/bin/position.new" "$folder/bin/position"
    echo "done $gtid"
else
    rm -f "$folder/bin/position"
    echo "ready 127.0.0.1/position"
    for _ in $(seq 300); do
        [ -e "$folder/bin/position" ] && break
        sleep 0.1
    done
    cat "$folder/bin/position"
fi
SCRIPT
chmod 755 "$folder/bin/wsrep_sst_position"
export PATH=$folder/bin:$PATH
cat >"$folder/init.sql" <<SQL
CREATE USER tripgate@'127.0.0.1' IDENTIFIED BY '$password';
GRANT ALL PRIVILEGES ON *.* TO tripgate@'127.0.0.1' WITH GRANT OPTION;
SQL
[ "$(id -u)" -eq 0 ] && chown -R nobody:nogroup "$folder"
(unprivileged mariadb-install-db --no-defaults --datadir="$folder/0/data" --skip-test-db \
    --auth-root-authentication-method=normal) >"$folder/0/log" 2>&1
members="127.0.0.1:${ports[3]},127.0.0.1:${ports[4]},127.0.0.1:${ports[5]}"
start() {
    local node=$1
    shift
    (unprivileged mariadbd --no-defaults --datadir="$folder/$node/data" --tmpdir="$folder/$node" \
        --socket="$folder/$node/socket" --pid-file="$folder/$node/pid" --bind-address=127.0.0.1 \
        --port="${ports[$node]}" --skip-name-resolve --max-connections=400 \
        --innodb-flush-method=nosync --innodb-flush-log-at-trx-commit=0 --innodb-autoinc-lock-mode=2 \
        --binlog-format=ROW --wsrep-on=ON --wsrep-provider="$provider" --wsrep-cluster-name="tripgate-$$" \
        --wsrep-node-name="node$node" --wsrep-node-address="127.0.0.1:${ports[$((node + 3))]}" \
        --wsrep-cluster-address="gcomm://$members" --wsrep-sst-method=position --wsrep-sst-receive-address=127.0.0.1 \
        --wsrep-provider-options="base_port=${ports[$((node + 3))]};gmcast.listen_addr=tcp://127.0.0.1:${ports[$((node + 3))]};ist.recv_addr=127.0.0.1:${ports[$((node + 6))]};gcache.size=32M;evs.keepalive_period=PT0.5S;evs.suspect_timeout=PT3S;evs.inactive_timeout=PT6S" \
        "$@") >>"$folder/$node/log" 2>&1 &
    servers+=($!)
    for _ in $(seq 300); do
        grep -q 'ready for connections' "$folder/$node/log" \
            && grep -q 'Synchronized with group' "$folder/$node/log" && return
        kill -0 "${servers[$node]}" 2>/dev/null || exit 70
        sleep 0.1
    done
    exit 70
}
start 0 --wsrep-new-cluster --init-file="$folder/init.sql"
kill -TERM "${servers[0]}"
wait "${servers[0]}" || true
servers=()
: >"$folder/0/log"
cp -a "$folder/0" "$folder/1"
cp -a "$folder/0" "$folder/2"

start 0 --wsrep-new-cluster
start 1
start 2
started=yes
export TRIPGATE_TEST_GALERA=
for node in 0 1 2; do
    TRIPGATE_TEST_GALERA+="mysql://tripgate:$password@127.0.0.1:${ports[$node]}/mysql "
done
export TRIPGATE_TEST_DATABASE_NODES=$TRIPGATE_TEST_GALERA
export TRIPGATE_TEST_DATABASE_URL=${TRIPGATE_TEST_GALERA%% *}
export TRIPGATE_TEST_DATABASE_IS_TEMPORARY=true
TRIPGATE_TEST_GALERA+="${servers[*]}"

"$@"
