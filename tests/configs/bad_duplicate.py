_base_ = ['sample/_base_/model.py',
          'sample/pure/../_base_/model.py']
