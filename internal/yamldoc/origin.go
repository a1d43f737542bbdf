package yamldoc

// Origin identifies what the document was read from: equal for a document and
// all its successors, nil for one made by FromNode.
func (d *Doc) Origin() any {
	if d.read == nil {
		return nil
	}
	return d.read
}
