"""What a model card says of the data of a run; `bundle_test` reads whole cards."""

from configs import senet
from dtc_jax.export import card


def test_lesions_without_a_label_that_were_learned_from_are_counted():
    config = senet.get_config("nodules").to_dict()
    metrics = {"unlabelled": [{"fold": 0, "lesions": 7, "patients": 5}]}
    said = "\n".join(card._data(config, {}, metrics, {}))
    assert "The auxiliary ratings are learned from 7 lesions without a label of 5 patients" in said
    assert "auxiliary" not in "\n".join(card._data(config, {}, {}, {}))
