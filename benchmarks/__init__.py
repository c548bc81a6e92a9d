"""Speed of the feature compiler, alone and against the peers; each module is one command."""
