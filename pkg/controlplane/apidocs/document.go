package apidocs

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"sync"
	"time"
)

// format is how a document is written.
type format string

const (
	formatJSON     format = "json"
	formatProtobuf format = "protobuf"
)

// document is one text in both formats, each kept compressed once it was there.
type document struct {
	etag     string // of both, as upstream has it: the Vary header tells them apart
	modified time.Time
	// toProtobuf makes the second format of the first.
	toProtobuf func(json []byte) ([]byte, error)

	mu     sync.Mutex
	packed map[format][]byte
}

func newDocument(json []byte, etag string, modified time.Time, toProtobuf func([]byte) ([]byte, error)) (*document, error) {
	packed, err := pack(json)
	if err != nil {
		return nil, err
	}
	return &document{etag: etag, modified: modified, toProtobuf: toProtobuf, packed: map[format][]byte{formatJSON: packed}}, nil
}

// text of the document.
func (d *document) text(in format) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if packed, ok := d.packed[in]; ok {
		return unpack(packed)
	}
	json, err := unpack(d.packed[formatJSON])
	if err != nil {
		return nil, err
	}
	made, err := d.toProtobuf(json)
	if err != nil {
		return nil, fmt.Errorf("write an OpenAPI document as %s: %w", in, err)
	}
	if d.packed[in], err = pack(made); err != nil {
		return nil, err
	}
	return made, nil
}

func pack(text []byte) ([]byte, error) {
	var out bytes.Buffer
	// The slowest level takes a tenth off, and as long as all the rest of the start.
	writer, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := writer.Write(text); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return bytes.Clone(out.Bytes()), nil // without the buffer's spare
}

func unpack(packed []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reader)
}
