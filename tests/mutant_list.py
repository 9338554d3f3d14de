"""The mistakes that `tests/mutants.py` introduces into the sources, and the tests that must notice them."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """A mistake, the tests that must notice it, and its consequence for users."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    consequence: str


def planted(*presets: str) -> tuple[str, ...]:
    return tuple(f"test_planted.py::test_every_trained_preset_improves_the_planted_model[{name}]" for name in presets)


MUTANTS = (
    Mutant(
        "refused and answered swapped in the anchors",
        "method/anchors.py",
        'COMPLIANCE = {"refused": 0.0, "answered": 1.0}',
        'COMPLIANCE = {"refused": 1.0, "answered": 0.0}',
        planted("dro", "mcd"),
        "Every prompt would be trained to answer harmful requests.",
    ),
    Mutant(
        "harmless flag inverted in the anchors",
        "method/anchors.py",
        'float(question.label == "harmless")',
        'float(question.label == "harmful")',
        ("test_learn.py::test_anchors_have_the_labels_of_their_questions",),
        "The harmfulness loss would make harmful requests look harmless.",
    ),
    Mutant(
        "training labels inverted",
        "method/data.py",
        "labels = torch.tensor(rows.labels, dtype=torch.float32)",
        "labels = 1 - torch.tensor(rows.labels, dtype=torch.float32)",
        planted("mcd-mixture", "quick"),
        "Prompts would be trained to refuse harmless requests and to answer harmful ones.",
    ),
    Mutant(
        "sign of the refusal head",
        "method/space.py",
        "return self.project(states) @ self.refusal_weight + self.refusal_bias",
        "return -(self.project(states) @ self.refusal_weight + self.refusal_bias)",
        planted("dro", "mcd-paper"),
        "The refusal loss would train compliance with harmful requests.",
    ),
    Mutant(
        "sign of the harmfulness head",
        "method/space.py",
        "return self.project(states) @ self.harmfulness_weight + self.harmfulness_bias",
        "return -(self.project(states) @ self.harmfulness_weight + self.harmfulness_bias)",
        ("test_learn.py::test_the_heads_of_the_safety_space_point_the_right_way",),
        "The harmfulness loss would make harmful requests look harmless.",
    ),
    Mutant(
        "refusal loss with its logits swapped",
        "method/losses/refusal.py",
        "F.binary_cross_entropy_with_logits(new_logit - base_logit,",
        "F.binary_cross_entropy_with_logits(base_logit - new_logit,",
        ("test_objective.py::test_binary_losses_equal_the_formula_and_point_the_right_way",),
        "The published methods would make models less safe.",
    ),
    Mutant(
        "first tokens of refusals and answers swapped",
        "method/first_tokens.py",
        "for kind in (0, 1))",
        "for kind in (1, 0))",
        ("test_learn.py::test_first_tokens_are_those_of_refusals_and_answers",),
        "The behaviour loss would train answers to harmful requests.",
    ),
    Mutant(
        "validation measures the start prompt",
        "jobs/learn.py",
        "defence = soft.with_theta(theta, settings.seed)",
        "defence = soft.with_theta(start, settings.seed)",
        ("test_learn.py::test_validation_measures_the_prompt_it_is_given", *planted("quick")),
        "No trained prompt would ever be kept.",
    ),
    Mutant(
        "worst written prompt chosen",
        "jobs/defend.py",
        "best = min(errors, key=errors.__getitem__)",
        "best = max(errors, key=errors.__getitem__)",
        ("test_planted.py::test_the_best_written_prompt_is_the_baseline",),
        "Trained prompts would be compared with a weak baseline.",
    ),
    Mutant(
        "step size not relative to the embeddings",
        "jobs/learn.py",
        "step_size=settings.training.learning_rate * embedding_rms(model.chat.model),",
        "step_size=settings.training.learning_rate,",
        ("test_learn.py::test_the_step_size_is_relative_to_the_embeddings",),
        "Training would destroy the prompt of models with small embeddings.",
    ),
    Mutant(
        "gradient clipping off",
        "method/trainer.py",
        "GRADIENT_NORM = 1.0",
        'GRADIENT_NORM = float("inf")',
        ("test_trainer.py::test_long_gradients_are_clipped",),
        "A single steep step could dominate the moments of the optimiser.",
    ),
    Mutant(
        "weight decay on",
        "method/trainer.py",
        "weight_decay=0.0",
        "weight_decay=0.1",
        ("test_trainer.py::test_a_prompt_without_gradients_does_not_decay",),
        "Soft prompts would shrink towards zero, away from the embeddings.",
    ),
    Mutant(
        "last step kept instead of the best one",
        "method/trainer.py",
        "return (best if validate is not None else parameter.detach()).cpu(), progress",
        "return parameter.detach().cpu(), progress",
        ("test_trainer.py::test_selection_keeps_the_best_measured_prompt",),
        "The kept prompt would not be the one that was selected.",
    ),
    Mutant(
        "moments of the optimiser not resumed",
        "method/trainer.py",
        "            optimiser.state[parameter] = state",
        "            pass",
        ("test_trainer.py::test_a_killed_run_resumes_bit_for_bit",),
        "An interrupted run would end with another prompt.",
    ),
    Mutant(
        "weight of harmless rows ignored",
        "method/losses/behaviour.py",
        "torch.where(batch.labels > 0.5, context.harmless_weight, 1.0)",
        "torch.ones_like(batch.labels)",
        ("test_objective.py::test_objective_is_the_weighted_sum_of_the_method",),
        "`objective.harmless_weight` would have no effect.",
    ),
    Mutant(
        "opening loss on harmful rows too",
        "method/losses/opening.py",
        "return batch.labels * opening_loss(",
        "return opening_loss(",
        ("test_objective.py::test_objective_is_the_weighted_sum_of_the_method",),
        "Training would preserve the beginnings of answers to harmful requests.",
    ),
    Mutant(
        "English base logits ignored",
        "method/data.py",
        "reference = data.base_states[data.english, rows]",
        "reference = base",
        ("test_trainer.py::test_gather_puts_every_constant_beside_its_row",),
        "The preset mcd-code would not be the released method.",
    ),
    Mutant(
        "weight in a preset changed",
        "config/presets.py",
        '"behaviour": 4.0,',
        '"behaviour": 2.0,',
        ("test_presets.py::test_a_preset_has_the_published_values",),
        "A preset would no longer reproduce its published results.",
    ),
    Mutant(
        "preset wins over given values",
        "config/settings.py",
        "return merged(PRESETS[preset], plain)",
        "return merged(plain, PRESETS[preset])",
        ("test_presets.py::test_given_values_win_over_the_preset",),
        "Settings given by the user would be ignored.",
    ),
    Mutant(
        "reply key without the dtype",
        "targets/local.py",
        "            str(chat.model.dtype),\n",
        "",
        ("test_reply_key.py::test_another_dtype_is_another_reply",),
        "Replies in another precision would be reused as if they were the same.",
    ),
    Mutant(
        "reply key without the length",
        "targets/local.py",
        "            tokens,\n        )\n",
        "        )\n",
        ("test_reply_key.py::test_another_length_is_another_reply",),
        "Shorter replies would be reused for a longer evaluation.",
    ),
    Mutant(
        "reply key without the defence",
        "targets/local.py",
        "            defence.digest,\n",
        "",
        ("test_reply_key.py::test_another_defence_is_another_reply",),
        "Replies of one soft prompt would be reused for another.",
    ),
    Mutant(
        "reply key without the weights",
        "targets/local.py",
        "            chat.weights,\n",
        "",
        ("test_reply_key.py::test_other_weights_are_another_reply",),
        "Replies of the base model would be reused for a fine-tuned one.",
    ),
    Mutant(
        "lower threshold for another language",
        "language_id.py",
        "CLEAR_MARGIN = 0.9",
        "CLEAR_MARGIN = 0.5",
        ("test_answer_language.py",),
        "Danish answers would be counted as Norwegian ones.",
    ),
    Mutant(
        "placeholders in texts not broken up",
        "prompt/preamble.py",
        "{jinja_string(p[0] + ' ' + p[1:])}",
        "{jinja_string(p)}",
        ("test_slot.py::test_typed_placeholders_never_become_soft_ids",),
        "A user could write a text that reaches the soft tokens.",
    ),
    Mutant(
        "thoughts judged as replies",
        "evaluation/judging.py",
        "exchange._replace(reply=reply.text)",
        "exchange",
        ("test_thoughts.py::test_thoughts_are_not_judged",),
        "A model that thinks about refusing and then answers would count as refusing.",
    ),
    Mutant(
        "missing weights accepted",
        "models/checks.py",
        '        ("missing_keys", "is missing"),\n',
        "",
        ("test_damaged_models.py::test_incomplete_and_damaged_weights_are_refused_by_name",),
        "A damaged model would be measured with random weights.",
    ),
    Mutant(
        "mistyped target ignored",
        "jobs/open_target.py",
        "if found is None and model is not None:",
        "if found is None and model is None and False:",
        ("test_damaged_models.py::test_a_target_that_does_not_exist_is_not_replaced_by_its_base_model",),
        "The undefended base model would be measured in place of a defended one.",
    ),
    Mutant(
        "replies that cannot be judged count as correct in selection",
        "evaluation/error_rates.py",
        "if 2 * cell.scored >= cell.n else 1.0",
        "if 2 * cell.scored >= cell.n else 0.0",
        ("test_error_rates.py::test_replies_that_cannot_be_judged_count_as_the_worst_rate_in_selection",),
        "A prompt that garbles the replies would be selected.",
    ),
    Mutant(
        "exported output embeddings stay tied",
        "export/checkpoint.py",
        "        untie(model)\n",
        "",
        ("test_export.py",),
        "The soft prompt would change the output rows of the exported model.",
    ),
    Mutant(
        "label of a reply taken for the label of the prompt",
        "corpus/reading/labels.py",
        "PROMPT_LABEL_NAMES if with_reply else",
        "LABEL_NAMES if with_reply else",
        ("test_reading_labels.py::test_a_label_beside_a_reply_is_not_the_label_of_the_prompt",),
        "Harmful prompts with safe replies would be measured as harmless.",
    ),
)
