package mapreduce

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// An Input is what a job reads; [Files] and [Reader] make one.
type Input interface {
	// sources returns the files that the input is. dir is for temporary ones.
	sources(ctx context.Context, dir string) ([]source, error)
}

// Files is an input of files and folders, in the order given. A folder stands
// for the files in it and in its folders, in the order of their names.
func Files(paths ...string) Input { return files(paths) }

type files []string

// A source is a file of the input.
type source struct {
	name, path string
	size       int64
}

func (paths files) sources(context.Context, string) ([]source, error) {
	var sources []source
	for _, root := range paths {
		real, err := filepath.EvalSymlinks(root) // WalkDir does not follow links
		if err != nil {
			return nil, fmt.Errorf("mapreduce: input: %w", err)
		}
		err = filepath.WalkDir(real, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err == nil && info.Mode()&fs.ModeSymlink != 0 {
				info, err = os.Stat(path)
			}
			if err != nil {
				return err
			}
			name := root
			if path != real {
				if name, err = filepath.Rel(real, path); err != nil {
					return err
				}
			}
			switch {
			case info.Mode().IsRegular():
				sources = append(sources, source{filepath.ToSlash(name), path, info.Size()})
			case path == real:
				return fmt.Errorf("%s is not a regular file", path)
			}
			return nil // what else is in a folder, links to folders, pipes, is left out
		})
		if err != nil {
			return nil, fmt.Errorf("mapreduce: input: %w", err)
		}
	}
	return sources, nil
}

// Reader is an input of one source that can be read once only. It is copied to
// a temporary file first, since a task may have to read its part again. A Read of
// r that blocks holds up the end of the job's context.
func Reader(name string, r io.Reader) Input { return &reader{name, r} }

type reader struct {
	name string
	r    io.Reader
}

func (r *reader) sources(ctx context.Context, dir string) ([]source, error) {
	f, err := os.CreateTemp(dir, "input-*")
	if err != nil {
		return nil, fmt.Errorf("mapreduce: input %s: %w", r.name, err)
	}
	size, err := io.Copy(f, readerFunc(func(b []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return r.r.Read(b)
	}))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("mapreduce: input %s: %w", r.name, err)
	}
	return []source{{r.name, f.Name(), size}}, nil
}

type readerFunc func(b []byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// A split is the input of one map task: parts of sources, one after another.
type split struct {
	sections []section
	size     int64
}

// A section is a part of a source, from one record's begin to another's end.
type section struct {
	source
	offset int64 // in the source
	length int64
	pos    int64 // of its begin in the whole input
}

func total(sources []source) (n int64) {
	for _, s := range sources {
		n += s.size
	}
	return n
}

// cut cuts sources between records into at most n splits of about the same size. A split ends behind the
// line (or, with whole, the file) in which it reaches its size.
func cut(sources []source, n int, whole bool) ([]split, error) {
	all, k := total(sources), int64(max(n, 1))
	splits := make([]split, 1)
	pos := int64(0)
	for _, s := range sources {
		for at := int64(0); at < s.size || at == 0; {
			this := &splits[len(splits)-1]
			end := s.size
			// This split, the ith of k, should end at i/k of the input.
			i := int64(len(splits))
			goal := all/k*i + all%k*i/k - pos
			if i < k && this.size > 0 && goal <= 0 {
				splits = append(splits, split{})
				continue
			}
			if !whole && i < k && goal < s.size-at {
				var err error
				if end, err = lineEnd(s, at+max(goal, 1)-1); err != nil {
					return nil, fmt.Errorf("mapreduce: input: %w", err)
				}
			}
			this.sections = append(this.sections, section{s, at, end - at, pos})
			this.size += end - at
			pos += end - at
			if at = end; at == 0 {
				break // an empty file
			}
		}
	}
	return splits, nil
}

// lineEnd returns where the line ends that has the byte at offset.
func lineEnd(s source, offset int64) (int64, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := make([]byte, 64<<10)
	for offset < s.size {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), s.size-offset)], offset)
		if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 {
			return offset + int64(i) + 1, nil
		}
		offset += int64(n)
		if err == io.EOF {
			return 0, fmt.Errorf("%s became shorter: %w", s.path, io.ErrUnexpectedEOF)
		}
		if err != nil {
			return 0, err
		}
	}
	return s.size, nil
}

// open gives the split as a stream of bytes that says all about itself, so that
// it can be mapped elsewhere. Each section is
//
//	uvarint length of name | name | uvarint offset | uvarint pos | uvarint length | bytes
func (s *split) open() io.ReadCloser { return &splitStream{sections: s.sections} }

type splitStream struct {
	sections []section
	head     []byte // not read yet
	file     *os.File
	left     int64 // of the section
}

func (s *splitStream) Read(p []byte) (int, error) {
	for {
		switch {
		case len(s.head) > 0:
			n := copy(p, s.head)
			s.head = s.head[n:]
			return n, nil
		case s.left > 0:
			n, err := s.file.Read(p[:min(int64(len(p)), s.left)])
			s.left -= int64(n)
			if err == io.EOF {
				err = fmt.Errorf("mapreduce: %s became shorter: %w", s.file.Name(), io.ErrUnexpectedEOF)
			}
			return n, err
		case len(s.sections) == 0:
			s.Close()
			return 0, io.EOF
		}
		if err := s.begin(s.sections[0]); err != nil {
			return 0, err
		}
		s.sections = s.sections[1:]
	}
}

func (s *splitStream) begin(c section) error {
	s.Close()
	f, err := os.Open(c.path)
	if err != nil {
		return fmt.Errorf("mapreduce: input: %w", err)
	}
	s.file, s.left = f, c.length
	if c.offset > 0 {
		if _, err := f.Seek(c.offset, io.SeekStart); err != nil {
			return fmt.Errorf("mapreduce: input: %w", err)
		}
	}
	s.head = binary.AppendUvarint(s.head[:0], uint64(len(c.name)))
	s.head = append(s.head, c.name...)
	for _, n := range []int64{c.offset, c.pos, c.length} {
		s.head = binary.AppendUvarint(s.head, uint64(n))
	}
	return nil
}

func (s *splitStream) Close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

// A splitReader reads the records of a split.
type splitReader struct {
	in        *bufio.Reader // for headings; its buffer holds the records too
	whole     bool
	maxRecord int

	name   string
	offset int64
	pos    int64
	left   int64 // bytes of the section that were not returned
	fresh  bool  // nothing of the section was returned
	long   []byte
	done   int64 // bytes of all sections that were returned
	skip   int   // bytes of the last record, still in the buffer
}

const maxSource = 64 << 10 // bytes in the name of a source

func newSplitReader(r io.Reader, p *program) *splitReader {
	return &splitReader{in: bufio.NewReaderSize(r, 256<<10), whole: p.whole, maxRecord: p.maxRecord}
}

// next reads the next record; the end is io.EOF.
func (s *splitReader) next(rec *Record) error {
	if s.skip > 0 {
		s.in.Discard(s.skip)
		s.skip = 0
	}
	for s.left == 0 && !(s.whole && s.fresh) {
		if err := s.heading(); err != nil {
			return err
		}
	}
	s.fresh = false
	data, size, err := s.record()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("mapreduce: input %s at byte %d: %w", s.name, s.offset, err)
	}
	*rec = Record{Source: s.name, Offset: s.offset, Pos: s.pos, Data: data}
	s.offset += size
	s.pos += size
	s.left -= size
	s.done += size
	return nil
}

// record returns the next record's data, without the line's end, and its size
// with it.
func (s *splitReader) record() (data []byte, size int64, err error) {
	if s.whole {
		if s.left > int64(s.maxRecord) {
			return nil, 0, fmt.Errorf("%w: file of %d bytes", ErrTooLong, s.left)
		}
		if s.long, err = readAll(s.in, s.long[:0], s.left); err != nil {
			return nil, 0, err
		}
		return s.long, s.left, nil
	}
	// First in what the buffer holds, then in all that fits into it.
	for _, want := range [2]int{s.in.Buffered(), s.in.Size()} {
		want = int(min(int64(want), s.left))
		if want == 0 {
			continue
		}
		b, err := s.in.Peek(want)
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			if i > s.maxRecord {
				break
			}
			s.skip = i + 1
			return b[:i:i], int64(s.skip), nil
		}
		if err != nil {
			return nil, 0, err
		}
		if int64(want) == s.left && want <= s.maxRecord {
			s.skip = want
			return b[:want:want], int64(want), nil
		}
	}
	return s.longLine()
}

// longLine reads a line that does not fit into the buffer.
func (s *splitReader) longLine() ([]byte, int64, error) {
	s.long = s.long[:0]
	for {
		b, err := s.in.Peek(int(min(int64(s.in.Size()), s.left-int64(len(s.long)))))
		if err != nil {
			return nil, 0, err
		}
		i := bytes.IndexByte(b, '\n')
		if i >= 0 {
			b = b[:i+1]
		}
		s.long = append(s.long, b...)
		s.in.Discard(len(b))
		size := int64(len(s.long))
		data := bytes.TrimSuffix(s.long, []byte{'\n'})
		switch {
		case len(data) > s.maxRecord:
			return nil, 0, fmt.Errorf("%w: line of more than %d bytes", ErrTooLong, s.maxRecord)
		case i >= 0 || size == s.left:
			return data, size, nil
		}
	}
}

// heading reads the heading of the next section.
func (s *splitReader) heading() error {
	n, err := binary.ReadUvarint(s.in)
	if err != nil {
		return err // io.EOF: the split's end
	}
	if n > maxSource {
		return fmt.Errorf("mapreduce: split: %w: name of %d bytes", ErrTooLong, n)
	}
	name := make([]byte, n)
	if _, err := io.ReadFull(s.in, name); err != nil {
		return unexpected(err)
	}
	s.name, s.fresh = string(name), true
	for _, p := range []*int64{&s.offset, &s.pos, &s.left} {
		u, err := binary.ReadUvarint(s.in)
		if err != nil {
			return unexpected(err)
		}
		if *p = int64(u); *p < 0 {
			return errors.New("mapreduce: split: negative length")
		}
	}
	return nil
}

// unexpected turns an end in the middle of something into an error.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readAll reads n bytes behind those of dst, which grows as they come.
func readAll(r io.Reader, dst []byte, n int64) ([]byte, error) {
	b := bytes.NewBuffer(dst)
	_, err := io.CopyN(b, r, n)
	return b.Bytes(), err
}
