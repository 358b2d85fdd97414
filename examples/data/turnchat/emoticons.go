package main

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// emoticons are what people typed before there were characters for it. Where
// one begins like another, the longer one stands first.
var emoticons = []struct{ typed, drawn string }{
	{":'-(", "😢"},
	{":'(", "😢"},
	{":-)", "🙂"},
	{":)", "🙂"},
	{"=)", "🙂"},
	{":-(", "🙁"},
	{":(", "🙁"},
	{"=(", "🙁"},
	{";-)", "😉"},
	{";)", "😉"},
	{":-D", "😀"},
	{":D", "😀"},
	{"XD", "😆"},
	{"xD", "😆"},
	{":-P", "😛"},
	{":P", "😛"},
	{":-p", "😛"},
	{":p", "😛"},
	{":-O", "😮"},
	{":O", "😮"},
	{":-o", "😮"},
	{":o", "😮"},
	{":-|", "😐"},
	{":|", "😐"},
	{":-/", "😕"},
	{":/", "😕"},
	{":-*", "😘"},
	{":*", "😘"},
	{"B-)", "😎"},
	{"</3", "💔"},
	{"<3", "❤️"},
	{"\\o/", "🙌"},
}

// emote replaces emoticons by the characters that Unicode has for them. One
// counts only where it stands for itself, at the beginning or after a space, and
// before a space, a punctuation mark or the end: the ":/" of "http://" is none.
func emote(text string) string {
	var out strings.Builder
	free := true // nothing stands before
	for i := 0; i < len(text); {
		if free {
			if typed, drawn := emoticonAt(text[i:]); typed != "" {
				out.WriteString(drawn)
				i += len(typed)
				free = false
				continue
			}
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		out.WriteString(text[i : i+n])
		i += n
		free = unicode.IsSpace(r)
	}
	return out.String()
}

// emoticonAt returns the emoticon that text begins with, if any.
func emoticonAt(text string) (typed, drawn string) {
	for _, e := range emoticons {
		if after, ok := strings.CutPrefix(text, e.typed); ok {
			r, _ := utf8.DecodeRuneInString(after)
			if after == "" || unicode.IsSpace(r) || strings.ContainsRune(".,;!?…", r) {
				return e.typed, e.drawn
			}
		}
	}
	return "", ""
}
