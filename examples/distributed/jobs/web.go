package main

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/html"
)

// pageURL returns the address of a page in a folder that mirrors the web, as
// "wget --recursive" writes it: the first part of the path is the host.
func pageURL(path string) *url.URL {
	host, rest, _ := strings.Cut(path, "/")
	path = "/" + rest
	if strings.HasSuffix(path, "/index.html") {
		path = strings.TrimSuffix(path, "index.html")
	}
	return &url.URL{Scheme: "http", Host: host, Path: path}
}

// links yields the addresses to which a page links, without fragments.
func links(base *url.URL, page []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		for tokens := html.NewTokenizer(bytes.NewReader(page)); tokens.Next() != html.ErrorToken; {
			token := tokens.Token()
			if token.Data != "a" || token.Type != html.StartTagToken {
				continue
			}
			for _, attribute := range token.Attr {
				if attribute.Key != "href" {
					continue
				}
				target, err := base.Parse(strings.TrimSpace(attribute.Val))
				if err != nil || target.Host == "" {
					continue // mail addresses, scripts, nonsense
				}
				target.Fragment = ""
				if !yield(target.String()) {
					return
				}
			}
		}
	}
}

// text returns what a reader sees of a page.
func text(page []byte) []byte {
	var seen []byte
	hidden := ""
	for tokens := html.NewTokenizer(bytes.NewReader(page)); ; {
		switch tokens.Next() {
		case html.ErrorToken: // the end
			return seen
		case html.StartTagToken:
			if name, _ := tokens.TagName(); string(name) == "script" || string(name) == "style" {
				hidden = string(name)
			}
		case html.EndTagToken:
			if name, _ := tokens.TagName(); string(name) == hidden {
				hidden = ""
			}
		case html.TextToken:
			if hidden == "" {
				seen = append(append(seen, tokens.Text()...), ' ')
			}
		}
	}
}

// A visit is one line of a web server's log.
type visit struct {
	client string
	hour   string // "2026-11-22 03"
	method string
	path   string // without the question
	status int
	bytes  int64
}

var errLog = errors.New("not a line of a log in the common format")

// parseVisit reads a line in the common log format or its longer form, the
// combined format, whose further fields it leaves alone:
//
//	192.0.2.7 - ana [22/Nov/2026:03:04:05 +0000] "GET /a?b HTTP/1.1" 200 512
func parseVisit(line string) (v visit, err error) {
	client, rest, ok1 := strings.Cut(line, " ")
	_, rest, ok2 := strings.Cut(rest, " [")
	when, rest, ok3 := strings.Cut(rest, `] "`)
	request, rest, ok4 := strings.Cut(rest, `" `)
	if !ok1 || !ok2 || !ok3 || !ok4 || client == "" {
		return v, errLog
	}
	v.client = client
	if v.hour, err = parseHour(when); err != nil {
		return v, err
	}
	method, target, ok := strings.Cut(request, " ")
	if !ok || !strings.HasPrefix(target, "/") {
		return v, errLog
	}
	v.method = method
	v.path, _, _ = strings.Cut(target, " ")
	v.path, _, _ = strings.Cut(v.path, "?")
	fields := strings.SplitN(rest, " ", 3)
	if len(fields) < 2 {
		return v, errLog
	}
	if v.status, err = strconv.Atoi(fields[0]); err != nil || v.status < 100 || v.status > 599 {
		return v, errLog
	}
	if fields[1] == "-" { // no body was sent
		return v, nil
	}
	if v.bytes, err = strconv.ParseInt(fields[1], 10, 64); err != nil || v.bytes < 0 {
		return v, errLog
	}
	return v, nil
}

// parseHour turns 22/Nov/2026:03:04:05 +0000 into 2026-11-22 03.
func parseHour(when string) (string, error) {
	const months = "JanFebMarAprMayJunJulAugSepOctNovDec"
	if len(when) < len("02/Jan/2006:15:04:05") || when[2] != '/' || when[6] != '/' || when[11] != ':' || when[14] != ':' {
		return "", errLog
	}
	month := strings.Index(months, when[3:6])
	if month < 0 || month%3 != 0 {
		return "", errLog
	}
	for _, digits := range []string{when[:2], when[7:11], when[12:14]} {
		if _, err := strconv.ParseUint(digits, 10, 16); err != nil {
			return "", errLog
		}
	}
	return fmt.Sprintf("%s-%02d-%s %s", when[7:11], month/3+1, when[:2], when[12:14]), nil
}
