
# Bash breaks words at `@`, `=` and `:`, which names of trials have: here they are whole, and what bash has of them already is left
# out of the answers.
_day1() {
    local line=${COMP_LINE:0:COMP_POINT} have='' index
    local -a words
    read -ra words <<<"$line"
    if [[ $line != *[\"\'\\]* && ${words[0]-} == "${COMP_WORDS[0]}" ]]; then
        [[ $line == *[[:space:]] ]] && words+=('')
        index=$((${#words[@]} - 1))
        have=${words[index]%"$2"}
        local COMP_WORDS=("${words[@]}") COMP_CWORD=$index
        set -- "$1" "${words[index]}" "${words[index - 1]}"
    fi
    _clap_complete_day1 "$@"
    COMPREPLY=("${COMPREPLY[@]#"$have"}")
}
eval "$(complete -p day1 | sed s/_clap_complete_day1/_day1/)"
