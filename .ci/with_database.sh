#!/usr/bin/env bash
# Runs a command with a temporary PostgreSQL or MariaDB server:
#
#     .ci/with_database.sh postgres -- cargo test --test it
#     .ci/with_database.sh mariadb  -- cargo test --test it
#
# The server listens on a free loopback port with a random password and stores its data in a temporary folder,
# which is removed when the command ends. The folder is in TMPDIR if that variable is set, otherwise in memory
# if there is space, otherwise in /tmp. TRIPGATE_TEST_DATABASE_URL names the server and a maintenance
# database; the user in this URL is allowed to create and drop databases. TRIPGATE_TEST_DATABASE_IS_TEMPORARY
# allows the tests to leave databases on the server. The exit status is that of the command. Durability is off
# for speed.
#
# POSTGRES_BIN names the folder of PostgreSQL's programs (initdb, postgres, pg_isready, pg_dump, pg_restore), to test
# another release than the newest one that is installed.
set -euo pipefail

# Prints the path of a program, in the newest installed release. Debian does not put the server programs of
# PostgreSQL in PATH.
find_program() {
    local name=$1
    {
        printf '%s\n' /usr/lib/postgresql/*/bin/"$name" | sort -rV
        printf '%s\n' /usr/sbin/"$name" /usr/bin/"$name"
        command -v "$name" || true
    } | while IFS= read -r program; do
        if [ -x "$program" ]; then
            printf '%s\n' "$program"
            break
        fi
    done
}

# Prints the program's path, or fails with the name of the package to install.
need_program() {
    local program
    program=$(find_program "$1")
    if [ -z "$program" ]; then
        echo "with_database: $1 is not installed; on Debian: apt-get install $2" >&2
        exit 69
    fi
    printf '%s\n' "$program"
}

# Prints a folder in memory if it has 2 GiB of free space, else one on the disk. On a disk, MariaDB needs seconds for
# the migrations of a database, because it syncs the files of each table.
folder_for_data() {
    local free
    free=$(df --output=avail --block-size=1M /dev/shm 2>/dev/null | tail -n 1)
    if [ -w /dev/shm ] && [ "${free:-0}" -ge 2048 ]; then echo /dev/shm; else echo /tmp; fi
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Runs a program as an unprivileged user, because neither database server runs as root. `exec` keeps the
# process id, so the caller knows the process id of the server.
unprivileged() {
    if [ "$(id -u)" -eq 0 ]; then
        exec setpriv --reuid=nobody --regid=nogroup --clear-groups -- "$@"
    else
        exec "$@"
    fi
}

start_postgres() {
    local initdb
    if [ -n "${POSTGRES_BIN:-}" ]; then
        bin=$POSTGRES_BIN
        if [ ! -x "$bin/initdb" ]; then
            echo "with_database: POSTGRES_BIN: $bin contains no program initdb" >&2
            exit 69
        fi
        if ! (unprivileged test -x "$bin/postgres"); then
            echo "with_database: POSTGRES_BIN: the user nobody can't run the programs in $bin" >&2
            exit 69
        fi
        # For backups, the tests use the programs of the same release.
        export PATH=$bin:$PATH
    else
        initdb=$(need_program initdb postgresql)
        bin=$(dirname "$initdb")
    fi
    (umask 077 && printf '%s\n' "$password" >"$folder/password")
    give_folder_to_server
    # With `scram-sha-256`, a client that was compiled without optimization needs 20 ms for each connection.
    (unprivileged "$bin/initdb" --pgdata="$folder/data" --username=tripgate --pwfile="$folder/password" \
        --auth=password --encoding=UTF8 --locale=C.UTF-8 --no-sync) >"$folder/log" 2>&1
    (unprivileged "$bin/postgres" -D "$folder/data" -k "$folder" -p "$port" \
        -c listen_addresses=127.0.0.1 -c max_connections=400 \
        -c fsync=off -c synchronous_commit=off -c full_page_writes=off) >>"$folder/log" 2>&1 &
    server=$!
    stop_signal=INT # fast shutdown: does not wait for clients
    export TRIPGATE_TEST_DATABASE_URL="postgres://tripgate:$password@127.0.0.1:$port/postgres"
}

postgres_answers() {
    "$bin/pg_isready" --quiet --host=127.0.0.1 --port="$port"
}

start_mariadb() {
    local install mariadbd
    install=$(need_program mariadb-install-db "mariadb-server-core mariadb-client-core")
    mariadbd=$(need_program mariadbd "mariadb-server-core mariadb-client-core")
    (umask 077 && cat >"$folder/init.sql") <<SQL
CREATE USER tripgate@'127.0.0.1' IDENTIFIED BY '$password';
GRANT ALL PRIVILEGES ON *.* TO tripgate@'127.0.0.1' WITH GRANT OPTION;
ALTER USER root@localhost IDENTIFIED BY '$password';
SQL
    give_folder_to_server
    (unprivileged "$install" --no-defaults --datadir="$folder/data" --skip-test-db \
        --auth-root-authentication-method=normal) >"$folder/log" 2>&1
    (unprivileged "$mariadbd" --no-defaults --datadir="$folder/data" --tmpdir="$folder" \
        --socket="$folder/socket" --pid-file="$folder/pid" --init-file="$folder/init.sql" \
        --bind-address=127.0.0.1 --port="$port" --skip-name-resolve --max-connections=400 \
        --innodb-flush-method=nosync --innodb-flush-log-at-trx-commit=0 \
        --skip-log-bin) >>"$folder/log" 2>&1 &
    server=$!
    stop_signal=TERM
    export TRIPGATE_TEST_DATABASE_URL="mysql://tripgate:$password@127.0.0.1:$port/mysql"
}

mariadb_answers() {
    # MariaDB writes this line after the init file has created the user.
    grep -q 'ready for connections' "$folder/log"
}

give_folder_to_server() {
    if [ "$(id -u)" -eq 0 ]; then
        chown -R nobody:nogroup "$folder"
    fi
}

stop() {
    local status=$?
    trap - EXIT
    if [ -n "$server" ] && kill -0 "$server" 2>/dev/null; then
        kill "-$stop_signal" "$server"
        for _ in $(seq 100); do
            kill -0 "$server" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    if [ -z "$started" ] && [ -e "$folder/log" ]; then
        echo "with_database: $kind failed to start; its log:" >&2
        cat "$folder/log" >&2
    fi
    rm -rf "$folder"
    exit "$status"
}

kind=${1:-}
if [[ ! $kind =~ ^(postgres|mariadb)$ ]] || [ "${2:-}" != -- ] || [ $# -lt 3 ]; then
    echo "usage: .ci/with_database.sh postgres|mariadb -- COMMAND [ARGUMENT ...]" >&2
    exit 64
fi
shift 2

server=
started=
stop_signal=TERM
folder=$(mktemp -d "${TMPDIR:-$(folder_for_data)}/tripgate-$kind.XXXXXX")
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
port=$(free_port)

"start_$kind"
export TRIPGATE_TEST_DATABASE_IS_TEMPORARY=true
for _ in $(seq 300); do
    if "${kind}_answers"; then
        started=yes
        break
    fi
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
done
if [ -z "$started" ]; then
    exit 70
fi

"$@"
