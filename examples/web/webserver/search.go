package main

import (
	"context"
	"errors"
	"html/template"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/httpx"
)

const (
	maxForm  = 16 << 10 // bytes of a form
	maxWords = 10
	maxFiles = 2000    // looked into for one search
	maxText  = 1 << 20 // bytes of a file that are looked into
)

// A searcher finds the text files that have all the words asked for. The words
// come in the URL, as a list (/buscar?monkeys&bananas) or from a form (?q=…), or in
// the body of a POST.
type searcher struct {
	files fs.FS
	turns chan struct{} // a search reads the whole folder: few at a time
}

func (s *searcher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.RawQuery
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost:
		kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if kind != "application/x-www-form-urlencoded" {
			w.Header().Set("Accept-Post", "application/x-www-form-urlencoded")
			httpx.ErrorPage(w, r, http.StatusUnsupportedMediaType, "The search takes a form (application/x-www-form-urlencoded).")
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			httpx.ErrorPage(w, r, http.StatusRequestEntityTooLarge, "So many words are not in any file here.")
			return
		} else if errors.Is(err, os.ErrDeadlineExceeded) {
			httpx.ErrorPage(w, r, http.StatusRequestTimeout, "")
			return
		} else if err != nil {
			httpx.ErrorPage(w, r, http.StatusBadRequest, "The form did not arrive whole.")
			return
		}
		query = string(body)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		httpx.ErrorPage(w, r, http.StatusMethodNotAllowed, "")
		return
	}
	words, problem := wordsOf(query)
	if problem != "" {
		httpx.ErrorPage(w, r, http.StatusBadRequest, problem)
		return
	}
	page := result{Words: words}
	if len(words) > 0 {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		var err error
		if page.Files, err = s.find(ctx, words); err != nil {
			httpx.ErrorPage(w, r, http.StatusServiceUnavailable, "The search took too long: too many people search, or there is too much to search in.")
			return
		}
	}
	var text strings.Builder
	if err := resultPage.Execute(&text, page); err != nil {
		httpx.ErrorPage(w, r, http.StatusInternalServerError, "")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	io.WriteString(w, text.String())
}

// wordsOf takes the words out of a query: a value if there is one, else a name;
// or says what is wrong with it.
func wordsOf(query string) (words []string, problem string) {
	for part := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		if value == "" && !strings.Contains(part, "=") {
			value = name
		}
		text, err := url.QueryUnescape(value)
		if err != nil {
			return nil, "The words of the search are not escaped as they must be (percent sign and two hexadecimal digits)."
		}
		words = append(words, strings.Fields(strings.ToLower(text))...)
	}
	if len(words) > maxWords {
		return nil, "A search can have ten words."
	}
	return words, ""
}

// A found file has all the words.
type found struct {
	Name string
	URL  string
	Line string // the first line with the first word
}

// find looks into the text files whose names do not begin with a dot.
func (s *searcher) find(ctx context.Context, words []string) ([]found, error) {
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	var list []found
	files := 0
	err := fs.WalkDir(s.files, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && entry != nil && entry.IsDir():
			return fs.SkipDir // one that we may not read
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !entry.Type().IsRegular() || !strings.HasPrefix(mime.TypeByExtension(path.Ext(name)), "text/"):
			return nil
		}
		if files++; files > maxFiles {
			return fs.SkipAll
		}
		text, err := s.read(name)
		if err != nil {
			return nil // it has gone, or we may not read it
		}
		lower := strings.ToLower(text)
		for _, word := range words {
			if !strings.Contains(lower, word) {
				return nil
			}
		}
		list = append(list, found{name, (&url.URL{Path: "/" + name}).String(), lineWith(text, words[0])})
		return nil
	})
	return list, err
}

func (s *searcher) read(name string) (string, error) {
	f, err := s.files.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxText))
	return strings.ToValidUTF8(string(text), "\uFFFD"), err
}

// lineWith returns the first line that has the word, shortened.
func lineWith(text, word string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(strings.ToLower(line), word) {
			if runes := []rune(strings.TrimSpace(line)); len(runes) > 100 {
				return string(runes[:100]) + "…"
			}
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// A result is what the page shows. The template escapes all of it.
type result struct {
	Words []string
	Files []found
}

var resultPage = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Search</title>
<style>body { margin: 5vh auto; max-width: 44rem; padding: 0 1rem; font: 1.1rem/1.5 system-ui, sans-serif }</style>
</head>
<body>
<form action="/buscar" method="get"><input name="q" aria-label="words"> <button>Search by GET</button></form>
<form action="/buscar" method="post"><input name="q" aria-label="words"> <button>Search by POST</button></form>
{{if .Words}}<h1>{{len .Files}} with {{range $i, $w := .Words}}{{if $i}} and {{end}}“{{$w}}”{{end}}</h1>
{{end}}{{if .Files}}<ul>
{{range .Files}}<li><a href="{{.URL}}">{{.Name}}</a>: {{.Line}}
{{end}}</ul>
{{end}}</body>
</html>
`))
