package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// A catalogue is the course: its chapters in order.
type catalogue struct {
	chapters []*chapter
}

type chapter struct {
	name      string // the folder: "sockets"
	title     string
	exercises []*exercise
}

type exercise struct {
	id      string // "S1"
	chapter string // "sockets"
	name    string // the folder: "udplocal"
	summary string // one sentence
	readme  string // whole; empty when the exercise is still to come
}

// exists reports whether the exercise is here, and not only in the list.
func (e *exercise) exists() bool { return e.readme != "" }

// dir returns the exercise's folder, relative to the catalogue's own.
func (e *exercise) dir() string { return path.Join(e.chapter, e.name) }

var (
	chapterLine  = regexp.MustCompile(`^([a-z0-9]+): (.+)$`)
	exerciseLine = regexp.MustCompile(`^\t([A-Z][0-9]+) ([a-z0-9]+): (.+)$`)
	readmeTitle  = regexp.MustCompile(`^# ([A-Z][0-9]+) ([a-z0-9]+)\s*$`)
)

// load reads the list of all exercises and puts in what the READMEs below
// files (chapter/exercise/README.md) say. An exercise that the list lacks is
// added to its chapter.
func load(list string, files fs.FS) (*catalogue, error) {
	c := new(catalogue)
	if err := c.parse(list); err != nil {
		return nil, err
	}
	found, err := fs.Glob(files, "*/*/README.md")
	if err != nil {
		return nil, err
	}
	for _, file := range found {
		text, err := fs.ReadFile(files, file)
		if err != nil {
			return nil, err
		}
		c.add(path.Dir(file), string(text))
	}
	return c, nil
}

// parse reads the list of exercises.
func (c *catalogue) parse(list string) error {
	number := 0
	for line := range strings.Lines(list) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if m := chapterLine.FindStringSubmatch(line); m != nil {
			c.chapters = append(c.chapters, &chapter{name: m[1], title: m[2]})
			continue
		}
		m := exerciseLine.FindStringSubmatch(line)
		if m == nil || len(c.chapters) == 0 {
			return fmt.Errorf("exercises.txt:%d: neither a chapter nor an exercise of one: %q", number, line)
		}
		if c.find(m[1]) != nil || c.find(m[2]) != nil {
			return fmt.Errorf("exercises.txt:%d: %s or %s stands there already", number, m[1], m[2])
		}
		last := c.chapters[len(c.chapters)-1]
		last.exercises = append(last.exercises, &exercise{id: m[1], chapter: last.name, name: m[2], summary: m[3]})
	}
	if len(c.chapters) == 0 {
		return errors.New("exercises.txt: no exercises")
	}
	return nil
}

// add records the README of the exercise in dir, "chapter/name".
func (c *catalogue) add(dir, readme string) {
	chapterName, name := path.Split(dir)
	chapterName = path.Clean(chapterName)
	id, summary := headOf(readme)
	e := c.find(dir)
	if e == nil {
		if id == "" {
			return // not an exercise's README
		}
		in := c.chapter(chapterName)
		if in == nil {
			in = &chapter{name: chapterName, title: chapterName}
			c.chapters = append(c.chapters, in)
		}
		e = &exercise{id: id, chapter: chapterName, name: name}
		in.exercises = append(in.exercises, e)
	}
	e.readme = readme
	if summary != "" {
		e.summary = summary
	}
}

// headOf returns what the first lines of a README say: the exercise's id from
// "# ID name" and the first sentence of the paragraph after it.
func headOf(readme string) (id, summary string) {
	title, rest, _ := strings.Cut(strings.ReplaceAll(readme, "\r\n", "\n"), "\n")
	m := readmeTitle.FindStringSubmatch(title)
	if m == nil {
		return "", ""
	}
	paragraph, _, _ := strings.Cut(strings.TrimLeft(rest, "\n"), "\n\n")
	if strings.HasPrefix(paragraph, "#") || strings.HasPrefix(paragraph, "```") {
		return m[1], ""
	}
	return m[1], firstSentence(inline(paragraph, style{}))
}

var sentenceEnd = regexp.MustCompile(`[.!?]["”)]* +\p{Lu}`)

// firstSentence returns the text up to the first full stop, question or
// exclamation mark that a capital letter follows, with its spaces made single.
func firstSentence(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if at := sentenceEnd.FindStringIndex(text); at != nil {
		text = text[:strings.LastIndexByte(text[:at[1]], ' ')]
	}
	return text
}

// chapter returns the chapter of that name, or nil.
func (c *catalogue) chapter(name string) *chapter {
	for _, ch := range c.chapters {
		if strings.EqualFold(ch.name, name) {
			return ch
		}
	}
	return nil
}

// find returns the exercise whose id, folder or chapter/folder is key, in
// upper or lower case, or nil.
func (c *catalogue) find(key string) *exercise {
	key = strings.TrimSuffix(key, "/")
	for _, ch := range c.chapters {
		for _, e := range ch.exercises {
			if strings.EqualFold(e.id, key) || strings.EqualFold(e.name, key) || strings.EqualFold(e.dir(), key) {
				return e
			}
		}
	}
	return nil
}

// listing returns the catalogue as text: a block for each chapter.
func listing(chapters []*chapter, s style) string {
	var b strings.Builder
	idWidth, nameWidth, here, all := 0, 0, 0, 0
	for _, ch := range chapters {
		for _, e := range ch.exercises {
			idWidth, nameWidth = max(idWidth, len(e.id)), max(nameWidth, len(e.name))
			all++
			if e.exists() {
				here++
			}
		}
	}
	for _, ch := range chapters {
		fmt.Fprintf(&b, "%s — %s\n", s.bold(ch.name), ch.title)
		for _, e := range ch.exercises {
			mark := "·"
			if e.exists() {
				mark = "✓"
			}
			indent := 2 + 2 + idWidth + 1 + nameWidth + 2
			fmt.Fprintf(&b, "  %s %-*s %-*s  %s\n", mark, idWidth, e.id, nameWidth, e.name, wrap(e.summary, s.width-indent, indent))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%d of %d exercises are here (✓), the others are still to come (·).\n", here, all)
	b.WriteString("Next: show ID to read about one, run ID demo to see it, tour to see them all; -h says more.\n")
	return b.String()
}
