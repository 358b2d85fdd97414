package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

const (
	// chunk is how much of a file is in memory at each end.
	chunk = 64 << 10

	// lastWords is how long an end waits for what the other may have said
	// before the connection broke.
	lastWords = time.Second
)

// A result says what a transfer did.
type result struct {
	size int64  // of the file
	from int64  // where this transfer began: what comes before was there already
	sum  string // SHA-256 of the file, the same at both ends
}

func (r result) String() string {
	resumed := ""
	if r.from > 0 {
		resumed = fmt.Sprintf(", the first %d from an earlier try", r.from)
	}
	return fmt.Sprintf("%d bytes%s, SHA-256 %s at both ends", r.size, resumed, r.sum)
}

// send sends a file of size bytes and returns when the receiver has it on its
// disk, with the same SHA-256.
func (w *wire) send(ctx context.Context, file io.ReadSeeker, size int64) (result, error) {
	offer, err := w.hearSoon(ctx)
	if err != nil {
		return result{}, err
	}
	sum := sha256.New()
	from, err := agree(file, size, offer, sum)
	if err != nil {
		return result{}, err
	}
	if err := w.tell(ctx, note{Size: size, From: from}); err != nil {
		return result{}, err
	}

	// The receiver may have something to say before the end: that its disk is
	// full. Who only writes would fill the connection and then wait.
	sending, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	listening, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	var answer note
	var answerErr error
	answered := make(chan struct{}) // closed when the two above are set
	go func() {
		defer close(answered)
		answer, answerErr = w.hear(listening)
		stop(errAnswered)
	}()
	w.show.Begin(from, size)
	err = w.write(sending, io.TeeReader(file, io.MultiWriter(sum, w.show)), size-from)
	sent := hex.EncodeToString(sum.Sum(nil))
	wait := lastWords
	if err == nil {
		wait, err = w.timeout, w.tell(sending, note{SHA256: sent})
	} else if _, disk := errors.AsType[*diskError](err); disk {
		wait = 0
	}
	limit := time.AfterFunc(wait, func() { giveUp(w.silence()) })
	defer limit.Stop()
	<-answered

	if _, said := errors.AsType[*peerError](answerErr); said {
		return result{}, answerErr // explains best why the sending failed
	}
	if err != nil && !errors.Is(err, errAnswered) {
		return result{}, err
	}
	switch {
	case answerErr != nil:
		return result{}, answerErr
	case err != nil:
		return result{}, refusal("an answer before the end of the file")
	case answer.SHA256 != sent:
		return result{}, &sumError{sent, answer.SHA256}
	}
	return result{size, from, sent}, nil
}

var errAnswered = errors.New("an answer came before the file was sent")

// agree returns where to begin: behind the part that the receiver has, if the
// file still begins so, and otherwise at its beginning. The file and its sum
// are there then.
func agree(file io.ReadSeeker, size int64, offer note, sum hash.Hash) (from int64, err error) {
	if offer.Have == 0 || offer.Have > size {
		return 0, nil
	}
	if _, err := io.CopyN(sum, file, offer.Have); err != nil {
		return 0, &diskError{err}
	}
	if hex.EncodeToString(sum.Sum(nil)) == offer.SHA256 {
		return offer.Have, nil
	}
	sum.Reset()
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return 0, &diskError{err}
	}
	return 0, nil
}

// write sends the next size bytes of a file as one message.
func (w *wire) write(ctx context.Context, file io.Reader, size int64) error {
	message, err := w.NextWriter(ctx, size)
	if err != nil {
		return err
	}
	n, err := io.CopyBuffer(message, io.LimitReader(&diskReader{file}, size), make([]byte, chunk))
	if err == nil && n < size {
		err = &diskError{errors.New("the file has become shorter while it was sent")}
	}
	if closeErr := message.Close(); err == nil {
		err = closeErr
	}
	return err
}

// A diskReader marks the errors of a disk, to be told from those of the
// network.
type diskReader struct{ io.Reader }

func (d *diskReader) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = &diskError{err}
	}
	return n, err
}

// receive receives a file into a part that may have its beginning already, and
// stores it. If anything fails the part stays as it is, for another try, unless
// it is wrong.
func (w *wire) receive(ctx context.Context, p *part) (result, error) {
	have, sum, err := p.sum()
	if err != nil {
		return result{}, err
	}
	if err := w.tell(ctx, note{Have: have, SHA256: sum}); err != nil {
		return result{}, err
	}
	plan, err := w.hearSoon(ctx)
	if err != nil {
		return result{}, err
	}
	if plan.From != 0 && plan.From != have || plan.From > plan.Size {
		return result{}, refusal("the sender begins where nobody asked it to")
	}
	if err := p.begin(plan.From, plan.Size); err != nil {
		return result{}, err
	}
	w.show.Begin(plan.From, plan.Size)
	if err := w.read(ctx, io.MultiWriter(p, w.show), plan.Size-plan.From); err != nil {
		return result{}, err
	}
	told, err := w.hearSoon(ctx)
	if err != nil {
		return result{}, err
	}
	// Read back from the disk: that is what will be there tomorrow.
	_, sum, err = p.sum()
	if err != nil {
		return result{}, err
	}
	if sum != told.SHA256 {
		p.wrong = true
		return result{}, errors.Join(&sumError{told.SHA256, sum}, w.tell(ctx, note{SHA256: sum}))
	}
	if err := p.keep(); err != nil {
		return result{}, err
	}
	return result{plan.Size, plan.From, sum}, w.tell(ctx, note{SHA256: sum})
}

// read takes the message that is the file, of which size bytes are to come.
func (w *wire) read(ctx context.Context, to io.Writer, size int64) error {
	reading, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	limit := time.AfterFunc(w.timeout, func() { giveUp(w.silence()) })
	message, announced, err := w.NextReader(reading)
	limit.Stop()
	if err != nil {
		return err
	}
	if announced != size {
		return refusal(fmt.Sprintf("%d bytes follow where %d were announced", announced, size))
	}
	_, err = io.CopyBuffer(to, message, make([]byte, chunk))
	return err
}
