# Completion of bhctl for bash: commands, options, names of guests and images.

# fields of deploy: "make documents" writes them from hv/config_fields.def
_bhctl_fields="--kind --cmdline --argv0 --memory --core --vcpus --cores --weight --slice --budget --period --guarantee --restart --restart-limit --watchdog --paused-clock --timer-ticks --exit-profile --strict-memory --memory-dump --devices --virtio --network --no-uplink --addresses --allow --broadcasts"
# end

# bash also splits words at ":" and "=", as in --url=https://127.0.0.1:8443. Sets words (up to the cursor), cword, cur and prev of the caller.
_bhctl_words() {
    if declare -F _get_comp_words_by_ref >/dev/null; then
        _get_comp_words_by_ref -n := cur prev words cword
        return
    fi
    local line=${COMP_LINE:0:COMP_POINT} rest i word
    words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        rest=${line#"${line%%[![:blank:]]*}"}
        word=${COMP_WORDS[i]}
        ((i < COMP_CWORD)) || word=$rest
        # Parts without a blank between them are one word.
        if ((i > 0)) && [[ $rest == "$line" && -n $line ]]; then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
        line=${rest#"$word"}
    done
    cword=$((${#words[@]} - 1))
    cur=${words[cword]} prev=${words[cword - 1]}
}

# The "name" of each member of the list in an answer. Asks the appliance that the command line and the environment name; prints nothing if it does not answer soon.
# compgen -W expands its argument like a command line, so only characters that a name may have pass.
_bhctl_names() {
    local i word ask=()
    for ((i = 0; i < cword; i++)); do
        word=${words[i]//[\"\'\\]/}
        [[ $word != "~/"* ]] || word=$HOME/${word#"~/"}
        if ((i == 0)); then
            ask=("$word")
            continue
        fi
        case $word in
        --host | --url | --token | --token-file | --cacert | --fingerprint) ask+=("$word=${words[++i]//[\"\'\\]/}") ;;
        --host=* | --url=* | --token=* | --token-file=* | --cacert=* | --fingerprint=* | -k | --insecure) ask+=("$word") ;;
        esac
    done
    timeout 2 "${ask[@]}" "$1" --json 2>/dev/null </dev/null | grep -o '"name":"[A-Za-z0-9._/-]*"' | cut -d '"' -f 4
}

# Offers the words of a list.
_bhctl_offer() {
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}

# With readline's own completion, which quotes blanks and continues after a directory.
_bhctl_files() {
    compopt -o default
}

# The value of an option. False: it has none.
_bhctl_value() {
    case $prev in
    --token-file | --cacert | --module | --disk) _bhctl_files ;;
    --prometheus) _bhctl_files ;;
    --host) _bhctl_offer "$(_bhctl_names contexts)" ;;
    --url) compopt -o nospace; _bhctl_offer "http:// https://" ;;
    # values of deploy: "make documents" writes them from hv/config_fields.def
    --kind) _bhctl_offer "auto flat linux multiboot1 multiboot2 pvh" ;;
    --restart) _bhctl_offer "never on-failure always" ;;
    --paused-clock) _bhctl_offer "stops runs" ;;
    --timer-ticks) _bhctl_offer "catch-up merge" ;;
    --exit-profile) _bhctl_offer "default least most" ;;
    --devices) _bhctl_offer "uart pic pit rtc reset exit net acpi pci hpet apic rng console" ;;
    --virtio) _bhctl_offer "modern transitional mmio" ;;
    --allow) _bhctl_offer "any-address router-advertisements dhcp-server vlan-tags" ;;
    --cmdline | --memory | --core | --vcpus | --cores | --weight | --slice | --budget | --period | --guarantee | --restart-limit | --watchdog | --network | --addresses | --broadcasts) ;;
    # end
    --role) _bhctl_offer "read operate admin" ;;
    --group) _bhctl_offer "control read-only guest host" ;;
    --format) _bhctl_offer "text json" ;;
    --sort) _bhctl_offer "cpu exits memory name" ;;
    --delete | --image | --module-image | --disk-image) _bhctl_offer "$(_bhctl_names images)" ;;
    --token | --fingerprint | --name | --module-args | --disk-mb) ;;
    --vcpu | --fields | --snapshot | --diff | --to | --quiet | --patience | --count | -n | --delay | -d | --from) ;;
    *) return 1 ;;
    esac
}

_bhctl_argument() {
    local options
    case $command in
    deploy) options="--name --image --module --module-image --module-args --disk --disk-image --disk-readonly --disk-mb $_bhctl_fields" ;;
    run) options="--name --image --keep --detach --patience --raw --filter --module --module-image --module-args --disk --disk-image --disk-readonly --disk-mb $_bhctl_fields" ;;
    delete) options="--images" ;;
    console) options="--new --quiet --raw --filter" ;;
    images) options="--delete" ;;
    vmcs | vmcb) options="--vcpu --fields --group --oddities --no-decode --snapshot --snapshots --keep --diff --to --volatile --check --exits --format" ;;
    compare) options="--format" ;;
    top) options="--count --delay --sort --all" ;;
    contexts) options="--prometheus" ;;
    events) options="--follow --from" ;;
    log) options="--follow" ;;
    reboot) options="--yes" ;;
    hash-token) options="--name --role" ;;
    *) options="" ;;
    esac
    if [[ $cur == -* ]]; then
        _bhctl_offer "$options $global"
        return
    fi
    case $command in
    "") _bhctl_offer "$commands $global" ;;
    deploy | run) _bhctl_files ;;
    contexts)
        case $prev in
        contexts) _bhctl_offer "list add use remove" ;;
        use | remove) _bhctl_offer "$(_bhctl_names contexts)" ;;
        esac
        ;;
    dump) [[ $prev == dump ]] && _bhctl_offer "$(_bhctl_names guests)" || _bhctl_files ;;
    status | delete | start | stop | pause | resume | reset | nmi | console | vmcs | vmcb) _bhctl_offer "$(_bhctl_names guests)" ;;
    esac
}

_bhctl() {
    local cur prev words cword command="" option="" i
    local commands="guests status deploy run delete start stop pause resume reset nmi console images vmcs vmcb dump compare top events log config host reboot contexts hash-token"
    local global="--host --url --token --token-file --cacert --fingerprint --insecure --json --help --version"

    COMPREPLY=()
    _bhctl_words
    for ((i = 1; i < cword; i++)); do
        case ${words[i]} in
        --host | --url | --token | --token-file | --cacert | --fingerprint) i=$((i + 1)) ;;
        -*) ;;
        *) command=${words[i]}; break ;;
        esac
    done
    if [[ $cur == --*=* ]]; then
        option=${cur%%=*} prev=${cur%%=*} cur=${cur#*=}
    fi
    _bhctl_value || { [[ $option ]] || _bhctl_argument; }
    # readline replaces what follows the last character at which it splits words.
    [[ -z $option || $COMP_WORDBREAKS == *=* ]] || COMPREPLY=("${COMPREPLY[@]/#/$option=}")
    [[ $cur != *:* || $COMP_WORDBREAKS != *:* ]] || COMPREPLY=("${COMPREPLY[@]#"${cur%"${cur##*:}"}"}")
}

complete -F _bhctl bhctl
