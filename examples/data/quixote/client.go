package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/zocalo-go/zocalo/codec"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	encoding := fs.String("encoding", "utf-8", "ask for the text in this `encoding`: "+offered)
	replace := fs.Bool("replace", false, "take question marks for the characters that the encoding does not have, instead of an error")
	out := fs.String("o", "", "save what comes in this `file`, replacing it; by default quijote. and the encoding's name")
	lines := cli.Number(fs, "lines", 0, 0, 1<<30, "show so `many` lines of the text; 0 shows all of it")
	most := cli.Number(fs, "max", int64(maxText), 1, 1<<30, "refuse a text of more `bytes`, encoded or decoded")
	timeout := cli.Number(fs, "timeout", 10*time.Second, time.Millisecond, time.Hour, "wait this `time` for the connection, for the answer, and for each 64 KiB of it")
	return func(ctx context.Context, env *cli.Env) error {
		target, err := addr.Target()
		if err != nil {
			return err
		}
		dialer := net.Dialer{Timeout: *timeout}
		conn, err := dialer.DialContext(ctx, "tcp", target)
		if err != nil {
			return err
		}
		c := framing.NewConn(conn, nil, &framing.Config{
			MaxSize: int(max(*most, maxHead)), IdleTimeout: *timeout, ReadTimeout: *timeout, WriteTimeout: *timeout,
		})
		defer c.Close()
		head, raw, text, err := fetch(ctx, c, Ask{Encoding: *encoding, Replace: *replace}, *most)
		if err != nil {
			return err
		}
		// The name is one of our own list, not what the server sent.
		file := *out
		if file == "" {
			file = "quijote." + head.Encoding
		}
		if err := save(file, raw); err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "%s: %d characters in %d bytes, saved in %s\n", head.Encoding, head.Characters, len(raw), filepath.Base(file))
		if head.Changed > 0 {
			fmt.Fprintf(env.Stdout, "%d characters are not those of the server's text: %s does not have them\n", head.Changed, head.Encoding)
		} else {
			fmt.Fprintln(env.Stdout, "decoded it is the server's text: the SHA-256 is the same")
		}
		return show(env.Stdout, text, *lines)
	}
}

// fetch asks for the text and returns the server's answer, the bytes that came
// and what they say. It believes nothing that it can check.
func fetch(ctx context.Context, c *framing.Conn, ask Ask, most int64) (head Head, raw, text []byte, err error) {
	peer := c.RemoteAddr()
	forged := func(format string, args ...any) error {
		return fmt.Errorf("%s sends what cannot be: %s", peer, fmt.Sprintf(format, args...))
	}
	stream := codec.NewStream[Ask, Head](c, headCodec)
	if err := stream.Send(ctx, ask); err != nil {
		return head, nil, nil, err
	}
	head, err = stream.Receive(ctx)
	if _, ok := errors.AsType[*codec.Error](err); ok {
		return head, nil, nil, forged("no answer in JSON: %s", why(err))
	}
	if err == io.EOF {
		err = fmt.Errorf("no answer from %s: %w", peer, err)
	}
	if err != nil {
		return head, nil, nil, err
	}
	if head.Error != "" {
		return head, nil, nil, fmt.Errorf("%s refuses: %s", peer, printable(head.Error))
	}
	t, err := codec.Lookup(ask.Encoding)
	if err != nil {
		return head, nil, nil, fmt.Errorf("%s knows an encoding %s, which this client does not", peer, brief(ask.Encoding))
	}
	switch {
	case head.Encoding != t.Name():
		return head, nil, nil, forged("%s, where %s was asked for", brief(head.Encoding), t.Name())
	case head.Size < 0 || head.Characters < 0 || head.Changed < 0:
		return head, nil, nil, forged("%d bytes, %d characters, %d changed", head.Size, head.Characters, head.Changed)
	case head.Changed > 0 && !ask.Replace && t.Name() != "idna": // which makes small letters of capitals
		return head, nil, nil, forged("%d characters are changed, which was not asked for", head.Changed)
	case int64(head.Size) > most:
		return head, nil, nil, fmt.Errorf("%s has a text of %d bytes, more than the %d that -max allows", peer, head.Size, most)
	}
	raw, err = c.Receive(ctx)
	if err == io.EOF {
		err = fmt.Errorf("no text from %s: %w", peer, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return head, nil, nil, err
	}
	if len(raw) != head.Size {
		return head, nil, nil, forged("%d bytes, where %d were announced", len(raw), head.Size)
	}
	t.MaxSize = most
	text, err = t.Decode(raw)
	if errors.Is(err, codec.ErrTooLarge) {
		return head, nil, nil, fmt.Errorf("%s has a text of more than the %d bytes that -max allows, packed into %d", peer, most, len(raw))
	}
	if err != nil {
		return head, nil, nil, forged("no %s: %s", t.Name(), why(err))
	}
	switch sum := sha256.Sum256(text); {
	case !utf8.Valid(text): // base64, zlib and gzip hold any bytes
		return head, nil, nil, forged("bytes in %s that are no text", t.Name())
	case utf8.RuneCount(text) != head.Characters:
		return head, nil, nil, forged("%d characters, where %d were announced", utf8.RuneCount(text), head.Characters)
	case hex.EncodeToString(sum[:]) != head.SHA256:
		return head, nil, nil, forged("the text is not the one announced: its SHA-256 differs")
	}
	return head, raw, text, nil
}

// save writes a file whole or not at all.
func save(name string, data []byte) (err error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file: nothing is saved there", name)
	}
	part, err := os.CreateTemp(filepath.Dir(name), ".quixote-*.part")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(part.Name())
		}
	}()
	_, err = part.Write(data)
	if closeErr := part.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(part.Name(), name)
}

// show prints the first lines of the text; 0 means all.
func show(w io.Writer, text []byte, lines int) error {
	var b strings.Builder
	n := 0
	for line := range bytes.Lines(text) {
		if n++; lines == 0 || n <= lines {
			b.WriteString(printable(strings.TrimRight(string(line), "\r\n")) + "\n")
		}
	}
	if lines > 0 && n > lines {
		fmt.Fprintf(&b, "… and %d lines more\n", n-lines)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printable takes control characters, other than tabs, out of what a stranger
// sent: they could command the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' {
			return -1
		}
		return r
	}, s)
}
