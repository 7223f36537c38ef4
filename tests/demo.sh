#!/usr/bin/env bash
# A demonstration fleet: three agents in a scratch directory, live in this terminal. Ctrl-C ends all of it and removes
# the directory.
#
#   RUNTIME=claude|codex|practice   which agents (default: practice, which needs no account and no model)
#   DEMO_ONCE=1                     end by itself once every nudge is answered; exit 1 where one is not
#   FLEETD=PATH                     use this fleetd and build nothing
#   SLACK_BOT_TOKEN, SLACK_APP_TOKEN, DEMO_SLACK_CHANNEL
#                                   bridge to Slack: one channel (name or id) for all three agents, or three with commas
# shellcheck disable=SC2317  # functions that a trap or until_true calls look unreachable to shellcheck
set -euo pipefail
cd "$(dirname "$0")/.."

runtime=${RUNTIME:-practice}
agents=(reviewer dependency-keeper bug-hunter)
prompts=(
    "Good morning. Say in three lines how you would review a pull request. Change nothing."
    "Good morning. Say in three lines how you would choose a dependency to update. Change nothing."
    "Good morning. Say in three lines how you would look for a bug that nobody has reported. Change nothing."
)
# How long the three answers may take, in seconds.
patience=120

scratch='' socket='' daemon='' tail=''

say() { printf '\n\033[1m==> %s\033[0m\n' "$*"; }
fail() { printf '\ndemo: %s\n' "$*" >&2; exit 1; }

# Waits up to five seconds for processes to end, then kills them.
gone() {
    local pid tries=100
    for pid in "$@"; do
        while kill -0 "$pid" 2>/dev/null && [ "$tries" -gt 0 ]; do
            sleep 0.05
            tries=$((tries - 1))
        done
        kill -KILL "$pid" 2>/dev/null
    done
}

# Whatever happens, nothing that was started here stays.
clean_up() {
    local code=$? pid ours
    set +e
    trap '' INT TERM HUP PIPE
    trap - EXIT
    for pid in $tail $daemon; do
        kill "$pid" 2>/dev/null
        gone "$pid"
    done
    if [ -n "$socket" ]; then
        # The socket's name is this run's alone. The agents end with their server.
        ours=$(tmux -L "$socket" list-panes -a -F '#{pid} #{pane_pid}' 2>/dev/null | tr ' ' '\n' | sort -u)
        tmux -L "$socket" kill-server 2>/dev/null
        # shellcheck disable=SC2086  # one word for each process
        gone $ours
        rm -f "${TMUX_TMPDIR:-/tmp}/tmux-$(id -u)/$socket"
    fi
    if [ -n "$scratch" ]; then
        if [ "$code" -eq 1 ] && [ -s "$scratch/fleetd.log" ]; then
            printf '\nThe last lines of the log of fleetd:\n' >&2
            tail -n 20 "$scratch/fleetd.log" >&2
        fi
        rm -rf "$scratch"
        printf '\nThe demonstration has ended; nothing of it runs, and %s is gone.\n' "$scratch"
    fi
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
trap 'exit 141' PIPE

# The CLI's lines of an agent's entry in agents.yaml.
runtime_lines() {
    case $runtime in
        practice) printf '    runtime: command\n    command: ["%s", practice-agent]\n    prompt: "❯"\n' "$fleetd" ;;
        *) printf '    runtime: %s\n' "$runtime" ;;
    esac
}

# The Slack lines of the agent with that number.
slack_lines() {
    [ ${#channels[@]} -gt 0 ] || return 0
    if [ ${#channels[@]} -eq 1 ]; then
        printf '    slackChannel: "%s"\n    sharedChannel: true\n' "${channels[0]}"
    else
        printf '    slackChannel: "%s"\n' "${channels[$1]}"
    fi
}

# The minute at which the nudges are due: the coming one where it is near, else the one that runs. fleetd gives a nudge up
# to two minutes after its time, so neither makes anybody wait.
due_minute() {
    local now
    now=$(date +%s)
    if [ $((60 - now % 60)) -le 15 ]; then now=$((now + 60)); fi
    date --date="@$now" +%H:%M
}

write_config() {
    local number
    {
        printf 'reposDir: repos\nworkspacesDir: workspaces\nstagger: 3s\nlaunchStagger: 0s\ntmux: {socket: %s}\nagents:\n' "$socket"
        for number in 0 1 2; do
            printf '  - slug: %s\n' "${agents[$number]}"
            runtime_lines
            slack_lines "$number"
            printf '    schedule: "Mon..Sun %s"\n    dailyPrompt: "%s"\n' "$minute" "${prompts[$number]}"
        done
    } >"$scratch/agents.yaml"
}

# The ids of the nudges that fell due so far, one a line.
nudges() { sed -n 's/.*nudge due.* prompt=\([0-9a-z]*\).*/\1/p' "$scratch/fleetd.log"; }

# The whole life of a prompt so far, without what the agent said.
steps() { fleet trace "$1" | grep -E '^[0-9]{4}-[0-9]{2}-[0-9]{2} ' || true; }

fleet() { "$scratch/fleet" "$@"; }

# Waits until a command succeeds; fails with the event's name where fleetd ends or the time is over. Where it takes long,
# the status tells what an agent waits for.
until_true() {
    local event=$1 begun=$SECONDS told=$SECONDS
    shift
    until "$@"; do
        kill -0 "$daemon" 2>/dev/null || fail "fleetd ended while this waited for: $event"
        [ $((SECONDS - begun)) -lt "$patience" ] || fail "waited $patience s in vain for: $event"
        if [ $((SECONDS - told)) -ge 20 ]; then
            told=$SECONDS
            say "Still waiting for $event"
            fleet status || true
        fi
        sleep 0.2
    done
}

started() { [ "$(grep -c 'started.*conversation=' "$scratch/fleetd.log")" -ge 3 ]; }
due() { [ "$(nudges | wc -l)" -ge 3 ]; }
answered() {
    local id all
    for id in $(nudges); do
        all=$(steps "$id")
        case $all in
            *' failed'* | *' uncertain'*) fleet trace "$id"; fail "a nudge was not delivered" ;;
            *' confirmed '*' done '*) ;;
            *) return 1 ;;
        esac
    done
}

channels=()
if [ -n "${SLACK_BOT_TOKEN-}" ] && [ -n "${SLACK_APP_TOKEN-}" ]; then
    IFS=', ' read -r -a channels <<<"${DEMO_SLACK_CHANNEL-}"
    case ${#channels[@]} in
        0) say "Slack: the tokens are set, DEMO_SLACK_CHANNEL is not; the channel is this terminal"
           unset SLACK_BOT_TOKEN SLACK_APP_TOKEN ;;
        1 | 3) say "Slack: bridging to ${channels[*]}; the app must be a member there (/invite it)" ;;
        *) fail "DEMO_SLACK_CHANNEL names ${#channels[@]} channels: name one for all three agents, or three" ;;
    esac
fi
case $runtime in
    practice) ;;
    claude | codex)
        command -v "$runtime" >/dev/null || fail "there is no $runtime on PATH: install it and log in once, or leave RUNTIME out"
        patience=300
        say "$runtime runs with your login, and may do what your user may (permissions: bypass); it keeps its own record of these conversations in your home" ;;
    *) fail "RUNTIME=$runtime is none of practice, claude, codex" ;;
esac

tests/setup.sh packages tmux git
if [ -n "${FLEETD-}" ]; then
    fleetd=$(realpath "$FLEETD")
else
    tests/setup.sh packages cc
    say "Building fleetd"
    cargo build --locked
    fleetd=$(realpath "${CARGO_TARGET_DIR:-target}/debug/fleetd")
fi

umask 077
scratch=$(mktemp -d "${TMPDIR:-/tmp}/fleet-demo.XXXXXX")
socket=fleet-demo-$$
minute=$(due_minute)
write_config
# From any terminal, this is the client of this fleet and no other.
printf '#!/usr/bin/env bash\nexport FLEET_CONFIG=%q FLEET_STATE=%q\nexec -a fleet %q "$@"\n' \
    "$scratch/agents.yaml" "$scratch/state" "$fleetd" >"$scratch/fleet"
chmod 700 "$scratch/fleet"

say "Starting a fleet of three in $scratch"
fleet check
FLEET_CONFIG=$scratch/agents.yaml FLEET_STATE=$scratch/state NO_COLOR=1 "$fleetd" >"$scratch/fleetd.log" 2>&1 &
daemon=$!
until_true "fleetd's socket" test -S "$scratch/state/fleetd.sock"
until_true "three sessions" started

say "Every agent has a tmux session of its own (fleet status)"
fleet status
say "What they do, live (fleet tail). Their daily prompt is due at $minute"
# Not through the function, whose subshell alone would get the signal.
"$scratch/fleet" tail --all &
tail=$!
say "A prompt from the shell (fleet send ${agents[0]} …)"
fleet send "${agents[0]}" "Say hello to whoever watches." || fail "fleet send was not confirmed"

until_true "three nudges at $minute" due
until_true "the answers to the three nudges" answered
# What was said has been printed once the reader has had its turn.
sleep 1
kill "$tail" 2>/dev/null || true
wait "$tail" 2>/dev/null || true
tail=''

say "The life of each nudge: due, typed, proven by the agent's own record, answered (fleet trace)"
for id in $(nudges); do
    printf '%s\n' "$(fleet trace "$id" | head -n 1)"
    steps "$id"
done
say "The fleet now (fleet status)"
fleet status
[ -z "${DEMO_ONCE-}" ] || exit 0

say "Your turn, from another terminal"
cat <<END
fleet=$scratch/fleet
\$fleet attach ${agents[0]}               its session; Ctrl-b d leaves it again
\$fleet send ${agents[1]} "…"     a prompt; --reply waits for the answer
\$fleet tail                          what they do
\$fleet nudge ${agents[2]}            its daily prompt, now
\$fleet status, \$fleet --help         the rest

Here runs: fleet tail. Ctrl-C ends the fleet and removes $scratch.
END
"$scratch/fleet" tail &
tail=$!
code=0
wait "$daemon" || code=$?
fail "fleetd ended by itself (exit code $code)"
