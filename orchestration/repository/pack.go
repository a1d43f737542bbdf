package repository

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// memory are objects received from a server.
type memory map[plumbing.Hash]object

type object struct {
	typ     plumbing.ObjectType
	content []byte
}

func (m memory) size(h plumbing.Hash) (int64, error) {
	o, ok := m[h]
	if !ok {
		return 0, errNoObject
	}
	return int64(len(o.content)), nil
}

func (m memory) read(h plumbing.Hash, limit int64) (plumbing.ObjectType, []byte, error) {
	o, ok := m[h]
	if !ok {
		return plumbing.InvalidObject, nil, errNoObject
	}
	if err := checkSize(int64(len(o.content)), limit); err != nil {
		return plumbing.InvalidObject, nil, err
	}
	return o.typ, o.content, nil
}

// objectCost is what an object takes in memory besides its content.
const objectCost = 200

// packReader reads a pack into memory. go-git's own parser inflates an object
// before anybody can look at its size; here every declared size is charged to
// the budget first, so a small hostile pack can't become a big process.
type packReader struct {
	objects memory
	biggest int64 // bytes of one object
	limit   int64 // bytes of everything
	budget  int64 // what is left of it
	files   bool  // whether it is of a package's files, which have their own limits

	hashes  map[int64]plumbing.Hash          // by offset in the pack
	sums    map[int64]uint32                 // CRC-32 by offset; nil: not wanted
	waiting map[plumbing.Hash][]waitingDelta // deltas by the base that has yet to come
	offsets map[int64][]waitingDelta         // deltas by the offset of a base that is itself waiting
}

type waitingDelta struct {
	offset int64 // its own
	delta  []byte
}

func readPack(r io.Reader, biggest, budget int64) (memory, error) {
	p := newPackReader(biggest, budget)
	_, err := p.readAll(r)
	return p.objects, err
}

func newPackReader(biggest, budget int64) *packReader {
	return &packReader{
		objects: memory{}, biggest: biggest, limit: budget, budget: budget,
		hashes:  map[int64]plumbing.Hash{},
		waiting: map[plumbing.Hash][]waitingDelta{},
		offsets: map[int64][]waitingDelta{},
	}
}

// readAll reads a pack and returns its checksum. With an error there are no
// objects.
func (p *packReader) readAll(r io.Reader) (checksum plumbing.Hash, err error) {
	defer func() {
		if err != nil {
			p.objects, err = nil, fmt.Errorf("reading the pack: %w", err)
		}
	}()
	scanner := packfile.NewScanner(r)
	_, count, err := scanner.Header()
	if err != nil {
		return checksum, err
	}
	for range count {
		if err := p.next(scanner); err != nil {
			return checksum, err
		}
	}
	if checksum, err = scanner.Checksum(); err != nil && !errors.Is(err, io.EOF) {
		return checksum, err
	}
	if len(p.waiting) > 0 || len(p.offsets) > 0 {
		return checksum, errors.New("it has a delta without its base")
	}
	return checksum, nil
}

func (p *packReader) next(scanner *packfile.Scanner) error {
	h, err := scanner.NextObjectHeader()
	if err != nil {
		return err
	}
	if err := p.charge(h.Length); err != nil {
		return err
	}
	var content bytes.Buffer
	content.Grow(int(min(h.Length, 64<<20))) // exactly, where that isn't much: more would stay
	_, sum, err := scanner.NextObject(&content)
	if err != nil {
		return err
	}
	if p.sums != nil {
		p.sums[h.Offset] = sum
	}
	if int64(content.Len()) != h.Length {
		return errors.New("an object's size isn't what its header says")
	}
	switch h.Type {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
		return p.add(h.Offset, object{h.Type, content.Bytes()})
	case plumbing.REFDeltaObject:
		d := waitingDelta{h.Offset, content.Bytes()}
		if base, ok := p.objects[h.Reference]; ok {
			return p.patch(base, d)
		}
		p.waiting[h.Reference] = append(p.waiting[h.Reference], d)
	case plumbing.OFSDeltaObject:
		d := waitingDelta{h.Offset, content.Bytes()}
		if base, ok := p.hashes[h.OffsetReference]; ok {
			return p.patch(p.objects[base], d)
		}
		p.offsets[h.OffsetReference] = append(p.offsets[h.OffsetReference], d)
	default:
		return fmt.Errorf("an object has the type %s", h.Type)
	}
	return nil
}

// add stores an object, and everything that was waiting for it. The loop keeps
// chains of deltas, which can be thousands long, off the stack.
func (p *packReader) add(offset int64, o object) error {
	type arrived struct {
		offset int64
		object object
	}
	for todo := []arrived{{offset, o}}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		hash := plumbing.ComputeHash(at.object.typ, at.object.content)
		p.objects[hash] = at.object
		p.hashes[at.offset] = hash
		deltas := append(p.waiting[hash], p.offsets[at.offset]...)
		delete(p.waiting, hash)
		delete(p.offsets, at.offset)
		for _, d := range deltas {
			patched, err := p.apply(at.object, d.delta)
			if err != nil {
				return err
			}
			todo = append(todo, arrived{d.offset, patched})
		}
	}
	return nil
}

func (p *packReader) patch(base object, d waitingDelta) error {
	o, err := p.apply(base, d.delta)
	if err != nil {
		return err
	}
	return p.add(d.offset, o)
}

func (p *packReader) apply(base object, delta []byte) (object, error) {
	_, n := binary.Uvarint(delta) // the base's size
	if n <= 0 {
		return object{}, errors.New("malformed delta")
	}
	target, n := binary.Uvarint(delta[n:])
	if n <= 0 || target > 1<<62 {
		return object{}, errors.New("malformed delta")
	}
	if err := p.charge(int64(target)); err != nil {
		return object{}, err
	}
	content, err := packfile.PatchDelta(base.content, delta)
	if err != nil {
		return object{}, err
	}
	p.budget += int64(len(delta)) // it isn't kept
	return object{base.typ, content}, nil
}

func (p *packReader) charge(n int64) error {
	one, all := fetchFlag, fetchFlag
	if p.files {
		one, all = "--max-file-bytes", "--max-total-bytes"
	}
	if err := checkSize(n, p.biggest); err != nil {
		return fmt.Errorf("%w: %s sets another limit", err, one)
	}
	if p.budget -= n + objectCost; p.budget < 0 {
		return fmt.Errorf("%w: its objects take more than %s: %s sets another limit", errTooBig, size(p.limit), all)
	}
	return nil
}
