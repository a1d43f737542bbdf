package repository

// AccessTo is the Access that permits one repository: the leave that a person
// gives by naming it on the command line. Of a network repository it permits
// the host.
func AccessTo(repo string) (Access, error) {
	loc, err := parseLocation(repo)
	if err != nil {
		return Access{}, err
	}
	if loc.path != "" {
		return Access{FileRepos: []string{loc.path}}, nil
	}
	return Access{Network: []string{loc.host}}, nil
}
