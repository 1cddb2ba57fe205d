# Completion of bhctl for bash: commands, options, names of guests and images.

# The "name" of each member of the list in an answer. Asks the appliance that the command line and the environment name; says nothing when it cannot be reached.
_bhctl_names() {
    local i global=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --url | --token | --token-file | --cacert | --fingerprint) global+=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 1]}") ;;
        -k | --insecure) global+=(-k) ;;
        esac
    done
    "${COMP_WORDS[0]}" "${global[@]}" "$1" --json 2>/dev/null | grep -o '"name":"[^"]*"' | cut -d '"' -f 4
}

_bhctl() {
    local cur=$2 prev=$3 command="" i options
    local commands="guests status deploy delete start stop pause resume reset nmi console images vmcs top events log config host hash-token"
    local global="--url --token --token-file --cacert --fingerprint --insecure --json --help --version"

    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --url | --token | --token-file | --cacert | --fingerprint) i=$((i + 1)) ;;
        -*) ;;
        *) command=${COMP_WORDS[i]}; break ;;
        esac
    done

    COMPREPLY=()
    case $prev in
    --token-file | --cacert | --module) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    --url) mapfile -t COMPREPLY < <(compgen -W "http:// https://" -- "$cur"); return ;;
    --restart) mapfile -t COMPREPLY < <(compgen -W "never on-failure always" -- "$cur"); return ;;
    --paused-clock) mapfile -t COMPREPLY < <(compgen -W "stops runs" -- "$cur"); return ;;
    --exit-profile) mapfile -t COMPREPLY < <(compgen -W "least default most" -- "$cur"); return ;;
    --role) mapfile -t COMPREPLY < <(compgen -W "read operate admin" -- "$cur"); return ;;
    --group) mapfile -t COMPREPLY < <(compgen -W "control read-only guest host" -- "$cur"); return ;;
    --format) mapfile -t COMPREPLY < <(compgen -W "text json" -- "$cur"); return ;;
    --sort) mapfile -t COMPREPLY < <(compgen -W "cpu exits memory name" -- "$cur"); return ;;
    --token | --fingerprint | --name | --memory | --core | --cmdline | --module-args | --restart-limit | --weight | --slice | --budget | --period | --guarantee) return ;;
    --devices | --fields | --snapshot | --diff | --to | --quiet | --count | -n | --delay | -d | --from) return ;;
    --delete | --image | --module-image) mapfile -t COMPREPLY < <(compgen -W "$(_bhctl_names images)" -- "$cur"); return ;;
    esac

    case $command in
    "") mapfile -t COMPREPLY < <(compgen -W "$commands $global" -- "$cur"); return ;;
    deploy) options="--name --memory --core --image --cmdline --module --module-image --module-args --restart --restart-limit --weight --slice --budget --period --guarantee --paused-clock --exit-profile --devices" ;;
    delete) options="--images" ;;
    console) options="--new --quiet" ;;
    images) options="--delete" ;;
    vmcs) options="--fields --group --oddities --no-decode --snapshot --snapshots --keep --diff --to --volatile --check --exits --format" ;;
    top) options="--count --delay --sort" ;;
    events) options="--follow --from" ;;
    log) options="--follow" ;;
    hash-token) options="--name --role" ;;
    *) options="" ;;
    esac
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options $global" -- "$cur")
        return
    fi
    case $command in
    deploy) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    status | delete | start | stop | pause | resume | reset | nmi | console | vmcs) mapfile -t COMPREPLY < <(compgen -W "$(_bhctl_names guests)" -- "$cur") ;;
    esac
}

complete -F _bhctl bhctl
