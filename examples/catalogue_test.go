package main

import (
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// The list is the course's whole: its thirteen chapters, ids without a gap.
func TestExerciseList(t *testing.T) {
	c, err := load(exerciseList, readmes)
	require.NoError(t, err)
	letters := map[string]string{
		"sockets": "S", "names": "N", "data": "D", "security": "T", "servers": "V", "caching": "C", "messaging": "M",
		"web": "W", "mail": "E", "p2p": "P", "media": "X", "clocks": "K", "distributed": "Z",
	}
	require.Len(t, c.chapters, len(letters))
	all := 0
	for _, ch := range c.chapters {
		require.Contains(t, letters, ch.name)
		require.NotEmpty(t, ch.title)
		for i, e := range ch.exercises {
			require.Equal(t, letters[ch.name]+strconv.Itoa(i+1), e.id)
			require.Equal(t, ch.name, e.chapter)
			require.NotEmpty(t, e.summary)
			require.Nil(t, c.chapter(e.name), "%s is both a chapter and an exercise", e.name)
			all++
		}
	}
	require.Equal(t, 79, all)
}

// Every exercise's README begins as the catalogue needs it, and every folder
// of an exercise has one.
func TestReadmes(t *testing.T) {
	c, err := load(exerciseList, readmes)
	require.NoError(t, err)
	seen := 0
	for _, ch := range c.chapters {
		for _, e := range ch.exercises {
			if !e.exists() {
				continue
			}
			seen++
			id, summary := headOf(e.readme)
			require.Equal(t, e.id, id, "%s/README.md: its first line must be \"# %s %s\"", e.dir(), e.id, e.name)
			require.True(t, strings.HasPrefix(e.readme, "# "+e.id+" "+e.name+"\n"), "%s/README.md: its first line must be \"# %s %s\"", e.dir(), e.id, e.name)
			require.NotEmpty(t, summary, "%s/README.md: after the title and a blank line one paragraph must say what it is", e.dir())
			require.Less(t, len(summary), 160, "%s/README.md: its first sentence is a row of the catalogue: %q", e.dir(), summary)
		}
	}
	require.NotZero(t, seen)
	folders, err := os.ReadDir(".")
	require.NoError(t, err)
	for _, folder := range folders {
		if !folder.IsDir() || folder.Name() == "internal" {
			continue
		}
		exercises, err := os.ReadDir(folder.Name())
		require.NoError(t, err)
		for _, e := range exercises {
			if _, err := os.Stat(path.Join(folder.Name(), e.Name(), "main.go")); err == nil {
				found := c.find(folder.Name() + "/" + e.Name())
				require.NotNil(t, found, "exercises.txt lacks %s/%s", folder.Name(), e.Name())
				require.True(t, found.exists(), "%s/%s has no README.md", folder.Name(), e.Name())
			}
		}
	}
}

const smallList = "# comment\n\nsockets: Sockets\n\tS1 udplocal: first\n\tS2 udpremote: second\n\nweb: HTTP\r\n\tW1 wget: third\n"

func TestLoad(t *testing.T) {
	c, err := load(smallList, fstest.MapFS{
		"sockets/udplocal/README.md": {Data: []byte("# S1 udplocal\n\nA client and a\n`server`. More.\n\nAnd more.\n")},
		"sockets/extra/README.md":    {Data: []byte("# S99 extra\r\n\r\nNot in the list.\r\n")},
		"other/thing/README.md":      {Data: []byte("# O1 thing\n\nNot in the list, nor its chapter.\n")},
		"web/wget/README.md":         {Data: []byte("Wget\n")},
		"internal/cli/README.md":     {Data: []byte("# About cli\n\nNo exercise.\n")},
		"web/README.md":              {Data: []byte("# W9 web\n\nToo high up.\n")},
	})
	require.NoError(t, err)
	require.Equal(t, []string{"sockets", "web", "other"}, []string{c.chapters[0].name, c.chapters[1].name, c.chapters[2].name})
	require.Len(t, c.chapters, 3)
	require.Equal(t, `sockets — Sockets
  ✓ S1  udplocal   A client and a `+"`server`"+`.
  · S2  udpremote  second
  ✓ S99 extra      Not in the list.

web — HTTP
  ✓ W1  wget       third

other — other
  ✓ O1  thing      Not in the list, nor its chapter.

4 of 5 exercises are here (✓), the others are still to come (·).
Next: show ID to read about one, run ID demo to see it, tour to see them all; -h says more.
`, listing(c.chapters, style{}))

	for _, key := range []string{"S1", "s1", "udplocal", "UDPlocal", "sockets/udplocal", "sockets/udplocal/"} {
		require.Equal(t, "S1", c.find(key).id, key)
	}
	for _, key := range []string{"", "S", "S3", "sockets", "local"} {
		require.Nil(t, c.find(key), key)
	}
	require.Equal(t, "web", c.chapter("WEB").name)
	require.Nil(t, c.chapter("S1"))
}

func TestLoadRefuses(t *testing.T) {
	for list, problem := range map[string]string{
		"":                                 "no exercises",
		"\tS1 a: b\n":                      "exercises.txt:1: neither",
		"sockets: S\nS1 a: b\n":            "exercises.txt:2: neither",
		"sockets: S\n\tS1 a\n":             "exercises.txt:2: neither",
		"s: S\n\tS1 a: b\n\tS1 c: d\n":     "exercises.txt:3: S1 or c stands there already",
		"s: S\n\tS1 a: b\nt: T\n\tT1 a: b": "exercises.txt:4: T1 or a stands there already",
	} {
		_, err := load(list, fstest.MapFS{})
		require.ErrorContains(t, err, problem, "%q", list)
	}
}

func TestFirstSentence(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "",
		"One":                             "One",
		"One. Two.":                       "One.",
		"One, e.g. two. Three.":           "One, e.g. two.",
		"Port 1060.5 of\n  a.b.c! Ñandú.": "Port 1060.5 of a.b.c!",
		"Says \"hola.\" Then more.":       "Says \"hola.\"",
		"Is it? It is.":                   "Is it?",
		"RFC 862 echo. (With a bracket.)": "RFC 862 echo. (With a bracket.)",
		"Is there a `x.Y` in it? Yes.":    "Is there a `x.Y` in it?",
		"Never. . Ends":                   "Never. .",
	} {
		require.Equal(t, want, firstSentence(text), "%q", text)
	}
}

func TestHeadOf(t *testing.T) {
	for readme, want := range map[string][2]string{
		"":                                       {"", ""},
		"# Title\n\nText.\n":                     {"", ""},
		"## S1 x\n\nText.\n":                     {"", ""},
		"# S1 x":                                 {"S1", ""},
		"# S1 x\n\n## Next\n":                    {"S1", ""},
		"# S1 x\n\n```sh\ngo\n```\n":             {"S1", ""},
		"# S1 x\n\n\nSee [a](b) and **c**. D.\n": {"S1", "See a (b) and c."},
	} {
		id, summary := headOf(readme)
		require.Equal(t, want, [2]string{id, summary}, "%q", readme)
	}
}

func TestRender(t *testing.T) {
	const markdown = "# S1 `x`\n\nSee [the RFC](https://rfc.example/1)\nand **this\nthing**, not `[a](b) **c**`.\nA lone ` stays, **d**.\n\n" +
		"## Next\n\n```sh\ngo run .\n\n# no heading\n```\n\n### Why?\n\n| a | b |\n|---|---|\n| 1 | **2** |\n\n- item\n  #hash\n1. [x](x)\n"
	require.Equal(t, `S1 `+"`x`"+`
======

See the RFC (https://rfc.example/1)
and this
thing, not `+"`[a](b) **c**`"+`.
A lone `+"`"+` stays, d.

Next
----

    go run .

    # no heading

Why?

| a | b |
|---|---|
| 1 | 2 |

- item
  #hash
1. x
`, render(markdown, style{}))
	bright := render(markdown, style{bright: true})
	require.Contains(t, bright, "\x1b[1mS1 `x`\x1b[0m\n")
	require.Contains(t, bright, "\x1b[1mthis\nthing\x1b[0m")
	require.Equal(t, render(markdown, style{}), regexp.MustCompile("\x1b\\[[01]m").ReplaceAllString(bright, ""))
	require.Equal(t, "    open\n", render("```\nopen", style{}), "a fence that is not closed")
	require.Equal(t, "a\n\nb\n", render("a\r\n\r\nb\r\n", style{}))
}

func TestFold(t *testing.T) {
	const markdown = "One paragraph of two lines that is\nfolded anew.\n\n- an item of some length, which\n  goes on\n- another\n\n" +
		"12. ordered, and also of some length\n| a table | that is wider than the screen | by far |\n\n```\ncode that is wider than the screen, by far\n```\n"
	require.Equal(t, `One paragraph of two lines
that is folded anew.

- an item of some length,
  which goes on
- another

12. ordered, and also of
    some length
| a table | that is wider than the screen | by far |

    code that is wider than the screen, by far
`, render(markdown, style{width: 28}))
}

func TestWrap(t *testing.T) {
	require.Equal(t, "one two three four five", wrap("one two three four five", 10, 4), "too narrow to be of use")
	require.Equal(t, "one two three four\n    five ñandú ñandú sé\n    six", wrap("one two  three four five ñandú ñandú sé six", 20, 4))
	require.Equal(t, strings.Repeat("x", 30)+"\n    y", wrap(strings.Repeat("x", 30)+" y", 20, 4))
}
