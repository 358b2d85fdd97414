package main

import (
	"io"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A style says what the reader's screen can do. The zero style is for files
// and pipes: no escape sequences, lines as long as they come.
type style struct {
	bright bool // bold is possible
	width  int  // columns at which rows of the listing are folded; 0: not at all
}

// styleOf returns the style for w: bold on a terminal, unless NO_COLOR or
// TERM=dumb asks for none.
func styleOf(w io.Writer) style {
	file, ok := w.(*os.File)
	if !ok {
		return style{}
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return style{}
	}
	s := style{width: 80}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n >= 40 {
		s.width = n
	}
	term := os.Getenv("TERM")
	s.bright = os.Getenv("NO_COLOR") == "" && term != "dumb"
	if runtime.GOOS == "windows" && term == "" && os.Getenv("WT_SESSION") == "" {
		s.bright = false // the old console prints escape sequences as they are
	}
	return s
}

func (s style) bold(text string) string {
	if !s.bright || text == "" {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

// wrap folds text into lines of at most width columns, all but the first
// indented. With little or no width it leaves the text in one line.
func wrap(text string, width, indent int) string {
	if width < 20 {
		return text
	}
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		if i > 0 && column+1+n > width {
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = 0
		} else if i > 0 {
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}

// render makes a README readable on a terminal: headings underlined and bold,
// code indented, links as "text (target)", paragraphs folded at the screen's
// width. Tables stay as they are.
func render(markdown string, s style) string {
	var b strings.Builder
	var paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			b.WriteString(fold(inline(strings.Join(paragraph, "\n"), s), s.width))
			paragraph = paragraph[:0]
		}
	}
	fence := ""
	for line := range strings.Lines(markdown) {
		line = strings.TrimRight(line, " \r\n")
		bare := strings.TrimLeft(line, " ")
		if fence != "" {
			if bare == fence {
				fence = ""
			} else if line == "" {
				b.WriteByte('\n')
			} else {
				b.WriteString("    " + line + "\n")
			}
			continue
		}
		level := len(bare) - len(strings.TrimLeft(bare, "#"))
		switch {
		case strings.HasPrefix(bare, "```"):
			flush()
			fence = "```"
		case level > 0 && strings.HasPrefix(bare[level:], " "):
			flush()
			title := inline(strings.TrimSpace(bare[level:]), style{})
			b.WriteString(s.bold(title) + "\n")
			if level <= 2 {
				b.WriteString(strings.Repeat(string("=-"[level-1]), utf8.RuneCountInString(title)) + "\n")
			}
		case line == "":
			flush()
			b.WriteByte('\n')
		default:
			paragraph = append(paragraph, line)
		}
	}
	flush()
	return b.String()
}

var listItem = regexp.MustCompile(`^ *([-*]|[0-9]+\.) +`)

// fold folds a paragraph, or the items of a list, into lines of at most width
// columns. Rows of a table stay as they are, and with no width everything.
func fold(paragraph string, width int) string {
	if width == 0 {
		return paragraph + "\n"
	}
	var b strings.Builder
	var text, mark string
	flush := func() {
		if text != "" {
			indent := utf8.RuneCountInString(mark)
			b.WriteString(mark + wrap(text, width-indent, indent) + "\n")
		}
		text, mark = "", ""
	}
	for line := range strings.Lines(paragraph) {
		line = strings.TrimSuffix(line, "\n")
		switch item := listItem.FindString(line); {
		case strings.HasPrefix(line, "|"):
			flush()
			b.WriteString(line + "\n")
		case item != "":
			flush()
			text, mark = line[len(item):], item
		default:
			text += " " + line
		}
	}
	flush()
	return b.String()
}

var (
	markdownLink = regexp.MustCompile(`\[([^\]]+)\]\(([^)\s]+)\)`)
	markdownBold = regexp.MustCompile(`\*\*([^*]+)\*\*`)
)

// inline renders the marks inside one paragraph; what stands between back
// quotes is code and stays as it is.
func inline(paragraph string, s style) string {
	parts := strings.Split(paragraph, "`")
	for i := range parts {
		if i%2 == 1 && i < len(parts)-1 {
			continue
		}
		text := markdownLink.ReplaceAllStringFunc(parts[i], func(link string) string {
			m := markdownLink.FindStringSubmatch(link)
			if m[1] == m[2] {
				return m[1]
			}
			return m[1] + " (" + m[2] + ")"
		})
		parts[i] = markdownBold.ReplaceAllStringFunc(text, func(mark string) string {
			return s.bold(mark[2 : len(mark)-2])
		})
	}
	return strings.Join(parts, "`")
}
