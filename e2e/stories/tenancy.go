package stories

func tenancy() []Story { return nil }
